/** What a benchmark hands to `main`, and what `main` hands to a benchmark. */

export interface BenchOptions {
  /** About how long one measurement of one contestant takes, s. */
  readonly seconds: number;
  /** At most so many tasks in one measurement; `undefined` for the benchmark's own number. */
  readonly tasks: number | undefined;
  /** How often everything is measured; `undefined` for the benchmark's own number. */
  readonly rounds: number | undefined;
  /** How many seeds of each load `robustness` simulates. */
  readonly seeds: number;
  /** Of what is simulated rather than measured; times in ms. */
  readonly simulated: {
    readonly trace?: string;
    readonly startTime: readonly number[];
    readonly target: number;
    readonly slots: number;
    readonly max: number;
  };
  /** Of `fleet`. */
  readonly fleet: {
    /** How many pools; one measurement each. */
    readonly pools: readonly number[];
    /** Folder for the profiles of the controller; without it, none are made. */
    readonly profile?: string;
  };
  /** Ends early: what was started is stopped. */
  readonly signal: AbortSignal;
  /** Says what is going on, a line at a time. */
  readonly progress: (line: string) => void;
}

export interface BenchReport {
  /** For a person. */
  readonly text: string;
  /** For a program: one JSON object. */
  readonly data: Record<string, unknown>;
}

export type Bench = (options: BenchOptions) => Promise<BenchReport>;

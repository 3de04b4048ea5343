/** The options and the report of a benchmark. */
import type { Figure } from './figures.ts';

export interface BenchOptions {
  /** Approximate duration of one measurement of one contestant, s. */
  readonly seconds: number;
  /** Maximum number of tasks in one measurement; defaults to the benchmark's own. */
  readonly tasks: number | undefined;
  /** Number of repetitions; defaults to the benchmark's own. */
  readonly rounds: number | undefined;
  /** Number of seeds of each load that `robustness` simulates. */
  readonly seeds: number;
  /**
   * Whose workers `scale-in` (celery by default) and `sources-seen` (all by default) run. For `wake` and `fleet`, fields of
   * `spec.source` with commas between them, or `all`: whose pools they have; none by default.
   */
  readonly source: string | undefined;
  /** Whether `batches` and `handlers` run libraries of Python too, which take minutes. */
  readonly pythonLibraries: boolean;
  /** For how long `partitions` watches a worker that has nothing to do; defaults to the benchmark's own. */
  readonly idleMs?: number;
  /** For simulations; times in ms. */
  readonly simulated: {
    readonly trace?: string;
    readonly startTime: readonly number[];
    readonly target: number;
    readonly slots: number;
    readonly max: number;
  };
  /** For `fleet`. */
  readonly fleet: {
    /** Numbers of pools; one measurement each. */
    readonly pools: readonly number[];
    /** Pools adopt Deployments instead of having their own. */
    readonly adopted?: boolean;
    /** Folder for profiles of the controller; none by default. */
    readonly profile?: string;
  };
  /** For `all`. */
  readonly all: {
    /** Small sizes: to see that everything runs. */
    readonly quick?: boolean;
    /** A kept run to compare with; bench/baseline.json by default. */
    readonly baseline?: string;
    /** Writes bench/baseline.json. */
    readonly keep?: boolean;
  };
  /** Aborts the run: everything that was started is stopped. */
  readonly signal: AbortSignal;
  /** Reports progress, one line at a time. */
  readonly progress: (line: string) => void;
}

export interface BenchReport {
  /** For a person. */
  readonly text: string;
  /** For a program: one JSON object. */
  readonly data: Record<string, unknown>;
  /** What `all` compares with other runs. */
  readonly figures?: readonly Figure[];
  /** The command fails. */
  readonly failed?: boolean;
}

export type Bench = (options: BenchOptions) => Promise<BenchReport>;

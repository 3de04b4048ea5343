/**
 * The number of slots of a running worker: feeds the finder with what the meter sees, and sets the number that it returns. It asks at the
 * end of tasks, and four times a second while any run.
 */
import type { ConcurrencyBounds } from '../../../runtime/concurrency.ts';
import { interval, type Timer } from '../../../runtime/timers.ts';
import { describeSlots } from './describe.ts';
import type { FinderState } from './finder-state.ts';
import { enoughTasks, find, sampleSize, slotsOf, startFinder } from './finder.ts';
import { createMeter, type Ending, type Running } from './meter.ts';

/** What people and the controller see of it. */
export interface SlotsReport {
  /** The most that are in use now, a trial of more included. */
  readonly concurrency: number;
  /** Those that are worth it, by which a pool is sized, and why. */
  readonly slots: number;
  readonly slotsWhy: string;
}

/** What earlier workers have learned. */
export interface SlotsLearned {
  readonly slots: number | undefined;
  /** With this number, the last process of this worker has died. */
  readonly diedAt: number | undefined;
}

export interface AutoConcurrencyOptions {
  readonly bounds: ConcurrencyBounds;
  /** Monotonic, ms. */
  readonly now: () => number;
  /** Share of the memory limit that is in use. */
  readonly memory: () => number | undefined;
  readonly onSlots: (slots: number) => void;
  /** The finder has gone on. */
  readonly onState: (report: SlotsReport) => void;
  /** The report is another one; at most once a second. */
  readonly onReport: (report: SlotsReport) => void;
}

/** Disposing it stops its timer. */
export interface AutoConcurrency extends Disposable {
  readonly report: SlotsReport;
  begin(now: number): Running;
  end(task: Running, now: number, ending: Ending): void;
  /** Goes on from there. Ignored once it has found something itself. */
  recall(learned: SlotsLearned): void;
}

const TICK_MS = 250;
const REPORT_MS = 1_000;
/** How long a number at which a worker died is not tried again, ms. */
const DEADLY_MS = 6 * 3_600_000;

export function createAutoConcurrency(options: AutoConcurrencyOptions): AutoConcurrency {
  const { bounds, now, onSlots, onReport } = options;
  const meter = createMeter();
  let state = startFinder(bounds, bounds.min, now());
  let timer: Timer | undefined;
  let reported = reportOf(state);
  let reportedAt = -Infinity;
  meter.reset(slotsOf(state), sampleSize(state), now());

  function set(next: FinderState, fresh: boolean, at: number): void {
    const before = slotsOf(state);
    state = next;
    const slots = slotsOf(state);
    if (fresh || slots !== before) meter.reset(slots, sampleSize(state), at);
    if (fresh) options.onState(reportOf(state));
    if (slots !== before) onSlots(slots);
  }

  function look(at: number): void {
    const found = find(state, { ...meter.observation(at), memory: options.memory() });
    set(found.state, found.fresh, at);
  }

  function report(at: number): void {
    const next = reportOf(state);
    if (at - reportedAt < REPORT_MS || isSame(next, reported)) return;
    [reported, reportedAt] = [next, at];
    onReport(next);
  }

  function tick(): void {
    const at = now();
    look(at);
    report(at);
    if (meter.running > 0 || state.comparison || !isSame(reportOf(state), reported)) return;
    timer?.clear();
    timer = undefined;
  }

  return {
    get report() {
      return reportOf(state);
    },
    begin: (at) => {
      timer ??= interval(TICK_MS, tick).unref();
      return meter.begin(at);
    },
    end: (task, at, ending) => {
      meter.end(task, at, ending);
      if (meter.ended >= enoughTasks(state)) look(at);
    },
    recall: ({ slots, diedAt }) => {
      if (state.why.kind !== 'begins' || state.level !== bounds.min) return;
      const at = now();
      // what has killed the worker is not to be begun with
      const safe = Math.min(slots ?? bounds.min, (diedAt ?? Infinity) - 1);
      const deadly = diedAt === undefined ? undefined : { at: diedAt, until: at + DEADLY_MS };
      set({ ...startFinder(bounds, safe, at), deadly }, true, at);
      report(at);
    },
    [Symbol.dispose]: () => timer?.clear(),
  };
}

function reportOf(state: FinderState): SlotsReport {
  const { level, comparison } = state;
  const concurrency = Math.max(level, comparison?.trial ?? 0);
  return { concurrency, slots: level, slotsWhy: describeSlots(state) };
}

function isSame(one: SlotsReport, other: SlotsReport): boolean {
  return (
    one.concurrency === other.concurrency && one.slots === other.slots && one.slotsWhy === other.slotsWhy
  );
}

/** What a run with takeovers says in the end. Pure. */
import { batchFigures } from './batch-check.ts';
import { countKinds } from './report.ts';
import { takeoverRepeats } from './takeover-check.ts';
import type { TakeoverPlan } from './takeover-plan.ts';
import type { TakeoverOutcome } from './takeover-run.ts';

export interface TakeoverFigures {
  readonly plan: TakeoverPlan['kind'];
  readonly seed: number;
  readonly tasks: number;
  readonly tookS: number;
  readonly tasksPerS: number;
  readonly processes: number;
  readonly scaledUp: number;
  readonly scaledDown: number;
  readonly takeovers: number;
  readonly faults: Readonly<Record<string, number>>;
  readonly results: number;
  readonly dead: number;
  /** Pushes, of up to 200 tasks each, that no replica had confirmed in time, and that clients made again. */
  readonly pushedAgain: number;
  /** Runs beyond the attempts that tasks take; most of tasks that were pushed again. */
  readonly repeats: number;
  readonly repeatsMost: number;
  readonly batches: Readonly<Record<string, number>>;
  readonly violations: number;
}

export function takeoverFigures(
  { kind, seed }: Pick<TakeoverPlan, 'kind' | 'seed'>,
  { evidence, tookMs, scaled, pushedAgain, violations }: TakeoverOutcome,
): TakeoverFigures {
  const again = [...takeoverRepeats(evidence).values()];
  const pushed = evidence.tasks.reduce((total, { copies }) => total + copies, 0);
  return {
    plan: kind,
    seed,
    tasks: pushed,
    tookS: Math.round(tookMs / 100) / 10,
    tasksPerS: Math.round(pushed / (tookMs / 1_000)),
    processes: evidence.lives.length,
    scaledUp: scaled.up,
    scaledDown: scaled.down,
    takeovers: evidence.faults.filter(({ kind: fault }) => fault.startsWith('takeover')).length,
    faults: countKinds(evidence.faults),
    results: evidence.tasks.filter(({ id }) => evidence.results.has(id)).length,
    dead: evidence.dead.length,
    pushedAgain,
    repeats: again.reduce((total, times) => total + times, 0),
    repeatsMost: again.reduce((most, times) => Math.max(most, times), 0),
    batches: batchFigures(evidence.batches),
    violations: violations.length,
  };
}

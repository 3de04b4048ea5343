/** The result of a run, in numbers that can be compared. */
import { START_COST_MS } from '../controller/decide/target-wait/start-time.ts';
import type { Run } from './simulate.ts';
import { workOf, type TaskTrace } from './trace.ts';

export interface Figures {
  readonly policy: string;
  readonly tasks: number;
  readonly p50Ms: number;
  readonly p95Ms: number;
  readonly p99Ms: number;
  readonly maxMs: number;
  /** Share of tasks that waited longer than the target. */
  readonly over: number;
  /** Pod-seconds per second of work: 1 is a pod that always works, with one slot. Infinite where tasks take no time. */
  readonly podSeconds: number;
  readonly starts: number;
  readonly scaleActions: number;
  readonly busyStopped: number;
  readonly busyKilled: number;
  /** Tasks that were cut off again and again, until the run was given up. */
  readonly unfinished: number;
  /** (Pod-seconds + 10 for each start) per second of work; infinite as well. */
  readonly cost: number;
}

export function figuresOf(trace: TaskTrace, run: Run, targetMs: number): Figures {
  const sorted = run.waits.toSorted();
  const at = (share: number): number => sorted[Math.ceil(share * sorted.length) - 1] ?? 0;
  const work = workOf(trace);
  return {
    policy: run.unfinished > 0 ? `${run.name}, ${run.unfinished} never done` : run.name,
    tasks: sorted.length,
    p50Ms: at(0.5),
    p95Ms: at(0.95),
    p99Ms: at(0.99),
    maxMs: at(1),
    over: sorted.reduce((count, wait) => count + (wait > targetMs ? 1 : 0), 0) / sorted.length,
    podSeconds: run.podMs / work,
    starts: run.starts,
    scaleActions: run.scaleActions,
    busyStopped: run.busyStopped,
    busyKilled: run.busyKilled,
    unfinished: run.unfinished,
    cost: (run.podMs + START_COST_MS * run.starts) / work,
  };
}

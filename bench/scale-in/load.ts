/** The load of the scale-in experiment, and the judgement over what came of it. Pure. */
import type { Random } from '../../test/chaos/random.ts';

/** A task of the load; times in ms since its start. */
export interface Arrival {
  readonly id: string;
  readonly at: number;
  readonly ms: number;
}

export interface OnOff {
  readonly tasks: number;
  /** How often tasks come for `onMs`, and then none for `offMs`. */
  readonly times: number;
  readonly onMs: number;
  readonly offMs: number;
  /** The shortest and the longest task. */
  readonly ms: readonly [number, number];
}

/** Tasks at random moments of the phases in which they come, in order. */
export function onOffLoad({ tasks, times, onMs, offMs, ms }: OnOff, random: Random): Arrival[] {
  const moments = Array.from({ length: tasks }, () => Math.floor(random.real() * times * onMs));
  return moments
    .toSorted((a, b) => a - b)
    .map((moment, i) => ({
      id: `t${i}`,
      at: moment + Math.floor(moment / onMs) * offMs,
      ms: random.int(...ms),
    }));
}

/** One attempt at a task, by its own account; times in ms since the epoch. */
export interface Run {
  readonly pod: string;
  readonly began: number;
  /** `undefined` where it was cut off, or still runs. */
  readonly ended: number | undefined;
}

/** A pod by the account of the API server. */
export interface PodEnd {
  readonly name: string;
  /** When it was told to stop; `undefined` if it was not. */
  readonly leaving: number | undefined;
}

/** What came of a load. */
export interface Outcome {
  /** Pods that were told to stop, and those of them in which a task ran at that moment. */
  readonly stopped: number;
  readonly stoppedBusy: number;
  /** Runs that did not end. */
  readonly cutOff: number;
  /** Tasks that were begun more than once. */
  readonly repeated: number;
  /** Tasks that no run has finished. */
  readonly lost: number;
}

/** The attempts that a task has noted, oldest first: lines of `begin POD MS` and `end POD MS`. */
export function runsOf(lines: readonly string[]): Run[] {
  const runs: Run[] = [];
  for (const line of lines) {
    const [what, pod = '', at] = line.split(' ');
    if (what === 'begin') {
      runs.push({ pod, began: Number(at), ended: undefined });
      continue;
    }
    const open = runs.findLastIndex((run) => run.pod === pod && run.ended === undefined);
    const run = runs[open];
    if (run) runs[open] = { ...run, ended: Number(at) };
  }
  return runs;
}

/** `byTask` has an entry for each task of the load. */
export function outcomeOf(byTask: readonly (readonly Run[])[], pods: readonly PodEnd[]): Outcome {
  const byPod = Map.groupBy(byTask.flat(), ({ pod }) => pod);
  const stopped = pods.filter(({ leaving }) => leaving !== undefined);
  const busy = stopped.filter(({ name, leaving = 0 }) =>
    byPod.get(name)?.some(({ began, ended = Infinity }) => began <= leaving && leaving < ended),
  );
  return {
    stopped: stopped.length,
    stoppedBusy: busy.length,
    cutOff: byTask.flat().filter(({ ended }) => ended === undefined).length,
    repeated: byTask.filter((runs) => runs.length > 1).length,
    lost: byTask.filter((runs) => runs.every(({ ended }) => ended === undefined)).length,
  };
}

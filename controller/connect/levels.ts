/**
 * Which priorities a pool serves while its spec changes. Pure.
 *
 * One that the spec no longer names is served until its list holds nothing: read, counted, and taken from by workers. Clients are refused
 * from the beginning (controller/act/priorities.ts). Then workers are told, which replaces their pods.
 */
import type { WorkerPool, WorkerPoolSpec } from '../../kube/workerpool.ts';
import { isLevel, levelName, LEVELS, type Level } from '../../queue/priorities.ts';
import type { ListSample } from '../../queue/pool/pool-sample.ts';
import { holdsTasks } from './partitions.ts';

export interface Levels {
  readonly served: readonly Level[];
  /** When tasks were last found in lists that are to be left, or these were first read, ms of the elapsed clock. */
  readonly heldAt?: number | undefined;
}

type LevelsSpec = Pick<WorkerPoolSpec, 'queue' | 'priorities'>;

/** One object for all of thousands. */
const NO_LEVELS: Levels = { served: [] };

/** Lists count as empty after this long without a task: one that an idle worker has just taken is in no count until its next turn. */
const EMPTY_MS = 3_000;

/** Those to begin with, from the status that an earlier controller wrote, which may have been edited by hand. */
export function levelsBefore({ status }: WorkerPool): Levels {
  return { served: (status?.priorities ?? []).filter(isLevel) };
}

export function withWantedLevels({ served, heldAt }: Levels, { priorities = [] }: LevelsSpec): Levels {
  const all = LEVELS.filter((level) => priorities.includes(level) || served.includes(level));
  if (all.length === 0 && heldAt === undefined) return NO_LEVELS;
  return { served: all, ...(heldAt !== undefined && { heldAt }) };
}

/** Those that the spec no longer names. */
export function leftLevels({ served }: Levels, { priorities = [] }: LevelsSpec): Level[] {
  return served.filter((level) => !priorities.includes(level));
}

/** After a sample of all lists. `now`: ms of the elapsed clock. */
export function levelsAfter(
  { served, heldAt }: Levels,
  spec: LevelsSpec,
  lists: readonly ListSample[],
  now: number,
): Levels {
  const left = leftLevels({ served }, spec);
  if (left.length === 0) return { served };
  const names = new Set(left.map((level) => levelName(spec.queue, level)));
  const isBusy = lists.some((list) => names.has(list.queue) && holdsTasks(list));
  // the first sample may have met them between two tasks
  const held = isBusy || heldAt === undefined ? now : heldAt;
  if (now - held < EMPTY_MS) return { served, heldAt: held };
  return { served: served.filter((level) => !left.includes(level)) };
}

/** Whether dead letters are in the list of a priority. */
export function hasLetters({ queue }: LevelsSpec, level: Level, lists: readonly ListSample[]): boolean {
  return lists.some((list) => list.queue === levelName(queue, level) && list.dead > 0);
}

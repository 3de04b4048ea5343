/**
 * Pushes the tasks of a pool's crons when they are due: each occurrence once, over restarts and changes of the leader, because the
 * state in Redis moves in the step that pushes (queue/crons.ts). What is remembered here saves reading it.
 */
import type { Redis } from 'ioredis';
import { ConcurrencyPolicy, type CronSpec, type CronStatus } from '../../kube/workerpool.ts';
import { connectionOf } from '../../queue/connection/connection.ts';
import { partMarkOf } from '../../queue/batch-mark.ts';
import { moveCron, readCron, type CronState, type CronTask, type StoredState } from '../../queue/crons.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { encodeTask, hasId, parseTask, type EncodedTask } from '../../queue/task.ts';
import { checkUniqueId, taskOptionsOf, uniqueInPartitions } from '../../queue/task-options.ts';
import { cronTimesOf, type CronTimes } from '../decide/cron.ts';
import { occurrencesToPush } from '../decide/occurrences.ts';
import { answered } from './answered.ts';
import type { CronTimesSpec } from './claims.ts';

/** What is remembered between two calls, by the name of the cron task. */
export type CronsState = Map<string, RememberedCron>;

interface RememberedCron {
  /** Of the schedule and its time zone. */
  readonly of: string;
  readonly times: CronTimes;
  /** It has been checked for a queue that is in partitions, or is not. */
  readonly task: CronSpec['task'];
  readonly partitioned: boolean;
  readonly stored: StoredState | undefined;
  /** The connection that it was read or written on. */
  readonly on: Redis['stream'] | undefined;
}

export interface CronsInput {
  readonly crons: readonly CronSpec[];
  readonly redis: Redis;
  /** The list that tasks are pushed to; the state is beside it. */
  readonly keys: QueueKeys;
  /** It is one of several, each with some of the queue's tasks. */
  readonly partitioned: boolean;
  /** Wall clock, ms. */
  readonly now: number;
  /** Names of cron tasks that the pool had before, as its status has them. */
  readonly formerly: readonly string[];
  /** Names of cron tasks that other pools have on this list, whose state is not this pool's to forget. */
  readonly others?: ReadonlySet<string>;
  /** Nothing waits, runs or is delayed in the pool's queues, so no task of before can still run. */
  readonly empty: boolean;
}

/**
 * The list of a pool that tasks of crons go to: of several queues the most urgent one, of partitions the one that each number of
 * them has.
 */
export function cronQueueOf(queues: readonly QueueKeys[], partitioned: boolean): QueueKeys | undefined {
  return (partitioned ? queues.find(({ queue }) => queue.endsWith(':{0}')) : undefined) ?? queues[0];
}

export interface CronsDone {
  readonly status: readonly CronStatus[];
  /** Ids of the tasks that were pushed. */
  readonly pushed: readonly string[];
  /** When the next one is due, ms from now. */
  readonly nextInMs: number | undefined;
}

/** A timer that is set for longer would fire at once; and clocks are set. */
const LONGEST_MS = 3_600_000;
/** A clock that is set back by more than this was wrong before, as cron takes it; less is the difference of two clocks, ms. */
const CLOCK_SET_MS = 3 * 3_600_000;
/** After another one has moved it, ms. */
const AGAIN_MS = 1_000;
/** In the words of a timeout. */
const WHAT = 'a cron task';

/**
 * Throws `RangeError` for a cron task that cannot be read, or whose task no worker would run. Rejects if Redis fails: nothing was pushed then
 * that is not recorded.
 */
export async function runCrons(input: CronsInput, state: CronsState): Promise<CronsDone> {
  const each = input.crons.map((cron, index) => ({ cron, times: timesOf(cron, index, input, state) }));
  await forgetRemoved(input, state);
  const status: CronStatus[] = [];
  const pushed: string[] = [];
  let next = Infinity;
  for (const { cron, times } of each) {
    const done = await runCron(cron, times, input, state);
    status.push(done.status);
    pushed.push(...done.pushed);
    next = Math.min(next, done.next ?? Infinity);
  }
  return {
    status,
    pushed,
    nextInMs: next === Infinity ? undefined : Math.min(Math.max(0, next - input.now), LONGEST_MS),
  };
}

/** One that is added again under the name of an earlier one begins anew. */
async function forgetRemoved(
  { crons, redis, keys, formerly, others = new Set() }: CronsInput,
  state: CronsState,
): Promise<void> {
  const removed = new Set([...formerly, ...state.keys()]);
  for (const { name } of crons) removed.delete(name);
  for (const name of removed) {
    if (others.has(name)) {
      state.delete(name);
      continue;
    }
    const { bytes } = await answered(readCron(redis, keys, name), WHAT);
    if (bytes.length > 0) await answered(moveCron(redis, keys, name, bytes, undefined, []), WHAT);
    state.delete(name);
  }
}

const identityOf = ({ schedule, timeZone }: CronTimesSpec): string => `${timeZone} ${schedule}`;

function timesOf(
  cron: CronSpec,
  index: number,
  { partitioned }: Pick<CronsInput, 'partitioned'>,
  state: CronsState,
): CronTimes {
  const known = state.get(cron.name);
  const of = identityOf(cron);
  const { task } = cron;
  if (known?.of === of && known.task === task && known.partitioned === partitioned) return known.times;
  const times =
    known?.of === of ? known.times : cronTimesOf(cron.schedule, cron.timeZone, `crons[${index}]`, 'schedule');
  checkTask(cron, index, partitioned);
  state.set(cron.name, { of, times, task, partitioned, stored: known?.stored, on: known?.on });
  return times;
}

/** Throws `RangeError` for a task that workers would make a dead letter each time. */
function checkTask(cron: CronSpec, index: number, partitioned: boolean): void {
  const { id, raw } = encodedTask(cron, 0);
  const bytes = Buffer.from(raw);
  const { value } = parseTask(bytes);
  try {
    const unique = taskOptionsOf(value)?.unique;
    if (unique !== undefined) checkUniqueId(id);
    const part = partMarkOf(value, id, { raw: bytes });
    if (partitioned && unique !== undefined) throw uniqueInPartitions('it', unique);
    if (partitioned && part?.size !== undefined)
      throw new RangeError(
        `it names the size of batch "${part.id}", and the queue is in partitions, each of which has some of its parts only`,
      );
  } catch (error) {
    throw new RangeError(`crons[${index}].task: ${(error as Error).message}`, { cause: error });
  }
}

/** Whether of two cron tasks of one name each begins anew whenever the other has pushed. */
export function areAtOdds(one: CronTimesSpec, other: CronTimesSpec): boolean {
  return one.name === other.name && identityOf(one) !== identityOf(other);
}

interface OneDone {
  readonly status: CronStatus;
  readonly pushed: readonly string[];
  readonly next?: number | undefined;
}

async function runCron(
  cron: CronSpec,
  times: CronTimes,
  { redis, keys, now, empty }: CronsInput,
  all: CronsState,
): Promise<OneDone> {
  const { name } = cron;
  const remembered = all.get(name);
  let on = connectionOf(redis);
  const known = remembered?.on === on ? remembered?.stored : undefined;
  const before = known ?? (await answered(readCron(redis, keys, name), WHAT));
  // the first one was opened meanwhile
  on ??= connectionOf(redis);
  const keep = (stored: StoredState | undefined): StoredState | undefined => {
    // whoever has replaced it knows better: it is read again
    if (remembered) all.set(name, { ...remembered, stored, on });
    return stored;
  };
  const move = async (
    next: CronState | undefined,
    tasks: readonly CronTask[] = [],
  ): Promise<CronState | undefined> =>
    keep(await answered(moveCron(redis, keys, name, before.bytes, next, tasks), WHAT))?.state;

  if (cron.suspend) {
    if (before.bytes.length === 0) keep(before);
    else await move(undefined);
    return { status: { name, suspended: true }, pushed: [] };
  }
  const { state } = before;
  const isSame = state?.of === identityOf(cron);
  if (!isSame || state.until > now + CLOCK_SET_MS) {
    // of what was due before it was here, nothing is missed
    const last = isSame && state.last ? { last: state.last, over: state.over === true } : {};
    const begun = await move({ of: identityOf(cron), until: now, ...last });
    return {
      status: statusOf(name, begun, times, now),
      pushed: [],
      next: begun ? times.nextStart(now) : now + AGAIN_MS,
    };
  }
  keep(before);
  if ((times.lastStart(now) ?? -Infinity) <= state.until)
    return { status: statusOf(name, state, times, now), pushed: [], next: times.nextStart(now) };

  const running = await isRunning(cron, state, { redis, keys, empty });
  const due = occurrencesToPush(times, state.until, now, { ...cron, running });
  const tasks = due.push.map((at) => taskOf(cron, at));
  const last = tasks.at(-1);
  const after: CronState = {
    ...state,
    until: now,
    ...(last ? { last: { at: last.at, id: last.id }, over: false } : { over: !running }),
    missed: (state.missed ?? 0) + due.missed,
    skipped: (state.skipped ?? 0) + due.skipped,
  };
  const moved = await move(after, tasks);
  return {
    status: statusOf(name, moved ?? state, times, now),
    pushed: moved ? tasks.map(({ id }) => id) : [],
    next: moved ? times.nextStart(now) : now + AGAIN_MS,
  };
}

async function isRunning(
  { name, concurrencyPolicy }: CronSpec,
  { last, over }: CronState,
  { redis, keys, empty }: Pick<CronsInput, 'redis' | 'keys' | 'empty'>,
): Promise<boolean> {
  if (concurrencyPolicy === ConcurrencyPolicy.Allow || !last || over || empty) return false;
  const { outcome } = await answered(readCron(redis, keys, name, last.id), WHAT);
  return outcome === undefined;
}

/** `2026-11-29T03:00:00Z` */
const timeOf = (at: number): string => new Date(at).toISOString().replace(/\.\d+Z$/, 'Z');

/** A task that has no id gets that of its cron task with the time, so that each has a result of its own. */
function encodedTask({ name, task }: CronSpec, at: number): EncodedTask {
  return encodeTask(hasId(task) ? task : { ...task, id: `${name}:${timeOf(at)}` });
}

function taskOf(cron: CronSpec, at: number): CronTask & { readonly at: number } {
  const { id, raw } = encodedTask(cron, at);
  return { at, id: String(id), raw: String(raw) };
}

function statusOf(name: string, state: CronState | undefined, times: CronTimes, now: number): CronStatus {
  const next = times.nextStart(now);
  return {
    name,
    ...(state?.last && { lastTime: timeOf(state.last.at), lastTask: state.last.id }),
    ...(state?.missed && { missed: state.missed }),
    ...(state?.skipped && { skipped: state.skipped }),
    ...(next !== undefined && { nextTime: timeOf(next) }),
  };
}

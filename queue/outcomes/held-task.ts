/**
 * A task that is held in the name of a worker which is no process of ours: it was taken for something that knows nothing of Redis,
 * such as a Kubernetes Job, and is settled for it afterwards. To everything else in Redis it is a worker that holds one task.
 *
 * Nothing of this is remembered anywhere else. Whoever reads a held task can settle it with the turn after the last one, and turns
 * of one number are done once: so two callers, or one that was restarted, settle it once.
 */
import type { Redis } from 'ioredis';
import { batchCancelMark, batchIdOf } from '../batch-mark.ts';
import type { QueueKeys } from '../keys.ts';
import { asBytes, asList } from '../scripts/decode-reply.ts';
import { readCut } from '../scripts/read.ts';
import { script } from '../scripts/scripts.ts';
import { taskHead } from '../task.ts';
import { reap } from '../workers/reap.ts';
import { register } from '../workers/register.ts';
import { noPast, parsePast } from '../workers/past.ts';
import { turn, type Delivery, type Settled } from '../workers/turn.ts';
import type { Finished } from './outcome.ts';
import { settledOf } from './settled.ts';

/** What holds the task of a Job is called `job/NAME`, as kubectl calls the Job. */
export const HOLDER_PREFIX = 'job/';

export interface HeldTask {
  readonly worker: string;
  readonly epoch: number;
  /** Number of the last turn, and the highest receipt counter. */
  readonly turn: number;
  readonly seen: number;
  /** `undefined` where nothing was taken, or it was settled already. A long task is cut: see `size`. */
  readonly delivery: Delivery | undefined;
  /** The task has more bytes than were read. */
  readonly isCut: boolean;
}

/** Fields of the worker's hash that do not change: what list-workers.lua shows, and the policies that turn.lua reads. */
export type HolderFields = Readonly<Record<string, string | number>>;

const nothing: Settled = { results: [], retries: [], dead: [], released: [], cancelled: [], serviceUs: 0 };
const STATE = 'busy';
const FIELD_BYTES = 512;

/**
 * Takes the next task of the queue in the name of `worker`. Resolves to whether there was one; to `false` also if the queue is
 * paused, or the name is taken. Rejects if Redis refuses it: nothing is held then, or is found by the name.
 */
export async function holdTask(
  redis: Redis,
  keys: QueueKeys,
  worker: string,
  leaseMs: number,
  fields: HolderFields,
): Promise<boolean> {
  const epoch = await register(redis, keys, worker, leaseMs, fields);
  if (epoch === undefined) return false;
  const request = { worker, epoch, turn: 1, seen: 0, heard: 0, holds: 0, settled: nothing, leaseMs };
  const reply = await turn(redis, keys, { ...request, want: 1, unseen: true, state: STATE });
  if (reply.kind === 'held' && reply.tasks.length > 0) return true;
  await reap(redis, keys, worker, epoch, 'leave');
  return false;
}

/** What is held in this name, the task cut to `longest` bytes; `undefined` if nobody has it. Throws `UnexpectedReply`. */
export async function readHeldTask(
  redis: Redis,
  keys: QueueKeys,
  worker: string,
  longest: number,
): Promise<HeldTask | undefined> {
  const short = { bytes: FIELD_BYTES, values: 8 };
  const [about, tasks, pasts] = await Promise.all([
    readCut(redis, keys.worker(worker), short, 'HMGET', 'epoch', 'turn', 'seq'),
    readCut(redis, keys.inflight(worker), { bytes: longest + 1, values: 2 }, 'HGETALL'),
    readCut(redis, keys.carried(worker), short, 'HGETALL'),
  ]);
  const [epoch, number, seen] = asList(about, 'a worker', 3).map((one) => Number(String(one)));
  if (!epoch || !Number.isSafeInteger(epoch)) return undefined;
  const [receipt, raw] = asList(tasks, 'the task of a worker').map((one) => asBytes(one, 'its task'));
  const [, past] = asList(pasts, 'the past of a task').map(String);
  return {
    worker,
    epoch,
    turn: number ?? 0,
    seen: seen ?? 0,
    delivery: receipt &&
      raw && {
        receipt: receipt.toString(),
        raw: raw.subarray(0, longest),
        past: past === undefined ? noPast : parsePast(past),
      },
    isCut: (raw?.length ?? 0) > longest,
  };
}

/** Settles a held task and ends its worker. `false` if somebody else has done so. */
export async function settleHeldTask(
  redis: Redis,
  keys: QueueKeys,
  held: HeldTask,
  finished: Finished,
  leaseMs: number,
): Promise<boolean> {
  const { worker, epoch, turn: last, seen } = held;
  const settled = settledOf([finished], worker);
  const request = { worker, epoch, turn: last + 1, seen, settled, leaseMs, want: 0, state: STATE };
  const reply = await turn(redis, keys, request);
  if (reply.kind === 'fenced') return false;
  await reap(redis, keys, worker, epoch, 'leave');
  return true;
}

/** What a task may be cancelled by: its id, and for a part of a batch the mark of that. */
export function cancelNames(raw: Buffer): readonly (string | Buffer)[] {
  const { id, value } = taskHead(raw);
  const batch = batchIdOf(value);
  return batch === undefined ? [id] : [id, batchCancelMark(batch)];
}

/** Which of these names are marked as cancelled; costs one command while there are no marks at all. */
export async function findCancelled(
  redis: Redis,
  keys: QueueKeys,
  names: readonly (string | Buffer)[],
): Promise<readonly boolean[]> {
  if (names.length === 0 || (await redis.exists(keys.cancelled)) === 0) return names.map(() => false);
  const chunk = 500;
  const found: boolean[] = [];
  for (let at = 0; at < names.length; at += chunk) {
    const some = names.slice(at, at + chunk);
    const scores = await script(redis, 'read')(keys.cancelled, 64, chunk, 'ZMSCORE', ...some);
    found.push(...asList(scores, 'marks').map((score) => score !== null));
  }
  return found;
}

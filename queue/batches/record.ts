/**
 * What is known of batches: how far they are, and the results of their parts. In a queue in partitions that is in the whole and its shares:
 * those that have ended are in its counts already, the others are added here.
 */
import type { Redis } from 'ioredis';
import type { FailurePolicy } from '../batch-mark.ts';
import { parseHeader } from '../dead-letter-format.ts';
import { queueKeys, type QueueKeys } from '../keys.ts';
import type { RedisOf } from '../location.ts';
import type { Part } from '../parts/part.ts';
import { homeOf, type Parts } from '../parts/parts.ts';
import { MAX_PARTITIONS } from '../partitions.ts';
import { asCount, asList, asText, isTime } from '../scripts/decode-reply.ts';
import { readCut, readTexts } from '../scripts/read.ts';
import { requestOnce } from '../scripts/answers.ts';
import { script } from '../scripts/scripts.ts';
import { deliverReports } from '../workers/batch-reports.ts';

/**
 * `adding`: its client has not added all parts yet. `running`. `ended`: all parts have ended, and `then` was pushed. `failing`,
 * `cancelling`: what is left is being cancelled. `failed`, `cancelled`: it is over, without `then`.
 */
export type BatchState = 'adding' | 'running' | 'ended' | 'failing' | 'failed' | 'cancelling' | 'cancelled';

export interface BatchView {
  readonly id: string;
  readonly state: BatchState;
  readonly size: number;
  readonly succeeded: number;
  /** Failed for good. */
  readonly failed: number;
  readonly cancelled: number;
  /** Dead letters that it waits for. */
  readonly waiting: number;
  /** Open batches inside of it. */
  readonly inner: number;
  /** Parts that have not ended. */
  readonly left: number;
  readonly onFailure: FailurePolicy;
  /** Id of the task that follows. */
  readonly then: string | undefined;
  /** Number of partitions that its parts are in; `undefined` if the queue is not in partitions. */
  readonly partitions: number | undefined;
  /** Why it was cancelled, or which part failed. */
  readonly why: string | undefined;
  /** ms of Redis time. */
  readonly createdAt: number;
  /** When parts were last added to it or ended, ms of Redis time. */
  readonly activeAt: number;
  readonly endedAt: number | undefined;
}

/** The result of a part, or why there is none. */
export interface PartResult {
  readonly id: string;
  readonly value: string | undefined;
  readonly error: string | undefined;
}

const PAGE = 500;
/** In the order in which batch/list.lua returns them. */
const FIELDS = [
  'size',
  'policy',
  'open',
  'state',
  'done',
  'failed',
  'cancelled',
  'thenId',
  'why',
  'created',
  'at',
  'endedAt',
  'partitions',
] as const;
type Field = (typeof FIELDS)[number];
const LONGEST = 1_024;

/** `undefined` if there is no batch of that id, or it ended more than a week ago. */
export async function readBatch(
  redisOf: RedisOf,
  keys: QueueKeys,
  id: string,
): Promise<BatchView | undefined> {
  const view = await readRecord(redisOf(keys), keys, id);
  return view && (await withShares(redisOf, keys, view));
}

/** The counts of a batch in partitions, and those of its shares that have not ended. */
async function withShares(redisOf: RedisOf, keys: QueueKeys, view: BatchView): Promise<BatchView> {
  if (view.partitions === undefined || view.endedAt !== undefined) return view;
  const cut = { bytes: LONGEST, values: MAX_PARTITIONS };
  const key = keys.batchShares(view.id);
  const names = await readTexts(redisOf(keys), key, cut, 'SRANDMEMBER', MAX_PARTITIONS);
  // their result hashes are not read
  const queues = names.map((name) => queueKeys(name, keys.result));
  const shares = await Promise.all(queues.map((share) => readRecord(redisOf(share), share, view.id)));
  return shares.filter((share) => share !== undefined).reduce(together, view);
}

function together(whole: BatchView, share: BatchView): BatchView {
  const sums = ['size', 'succeeded', 'failed', 'cancelled', 'waiting', 'inner', 'left'] as const;
  return {
    ...whole,
    ...Object.fromEntries(sums.map((name) => [name, whole[name] + share[name]])),
    activeAt: Math.max(whole.activeAt, share.activeAt),
  };
}

/** What this partition knows. */
async function readRecord(redis: Redis, keys: QueueKeys, id: string): Promise<BatchView | undefined> {
  const cut = { bytes: LONGEST, values: FIELDS.length };
  const [values, dead, inner] = await Promise.all([
    readCut(redis, keys.batch(id), cut, 'HMGET', ...FIELDS),
    readCut(redis, keys.batchFailed(id), cut, 'SCARD'),
    readCut(redis, keys.batchInner(id), cut, 'SCARD'),
  ]);
  const texts = asList(values, 'a batch', FIELDS.length).map((one) =>
    Buffer.isBuffer(one) ? one.toString() : '',
  );
  const of = (name: Field): string => texts[FIELDS.indexOf(name)] ?? '';
  const counts = { dead: asCount(dead, 'a number of parts'), inner: asCount(inner, 'a number of batches') };
  return viewOf(id, of, counts);
}

/** `undefined` for what is no batch. */
function viewOf(
  id: string,
  of: (name: Field) => string,
  { dead, inner }: { readonly dead: number; readonly inner: number },
): BatchView | undefined {
  const count = (name: Field): number => {
    const value = Number(of(name));
    return Number.isSafeInteger(value) && value >= 0 ? value : 0;
  };
  const time = (name: Field): number => (isTime(count(name)) ? count(name) : 0);
  if (of('size') === '') return undefined;
  const size = count('size');
  const [succeeded, failed, cancelled] = [count('done'), count('failed'), count('cancelled')];
  const onFailure = (of('policy') || 'wait') as FailurePolicy;
  const state = (of('state') || (of('open') === '' ? 'running' : 'adding')) as BatchState;
  const createdAt = time('created');
  return {
    id,
    state,
    size,
    succeeded,
    failed,
    cancelled,
    waiting: onFailure === 'wait' && (state === 'running' || state === 'adding') ? dead : 0,
    inner,
    left: Math.max(0, size - succeeded - failed - cancelled),
    onFailure,
    then: of('thenId') || undefined,
    partitions: of('partitions') === '' ? undefined : count('partitions'),
    why: of('why') || undefined,
    createdAt,
    activeAt: Math.max(createdAt, time('at')),
    endedAt: of('endedAt') === '' ? undefined : time('endedAt'),
  };
}

/** Batches of a queue that are open, or that ended within the last week. */
export interface BatchPage {
  /** ms of Redis time. */
  readonly now: number;
  /** Number of all of this kind. */
  readonly all: number;
  /** Those that ended last come first; open ones are in the order of their ids. */
  readonly list: readonly BatchView[];
}

/** Reads at most `most` batches after the first `skip`, in one step. Of ids and reasons at most 1,024 bytes. */
export async function readBatchPage(
  redisOf: RedisOf,
  keys: QueueKeys,
  kind: 'open' | 'ended',
  most: number,
  skip = 0,
): Promise<BatchPage> {
  const [now, all, ...rows] = asList(
    await script(redisOf(keys), 'batch-list')(keys.batches, kind, skip, most),
    'batches',
  );
  const list = rows.slice(0, most).flatMap((row) => {
    const [id, ...values] = asList(row, 'a batch', FIELDS.length + 3);
    const [dead, inner] = values.slice(FIELDS.length).map((one) => asCount(one, 'a number of parts'));
    const of = (name: Field): string => asText(values[FIELDS.indexOf(name)], 'a batch', LONGEST);
    return viewOf(asText(id, 'the id of a batch', LONGEST), of, { dead: dead ?? 0, inner: inner ?? 0 }) ?? [];
  });
  return {
    now: asCount(now, 'the time'),
    all: asCount(all, 'a number of batches'),
    list: await Promise.all(list.map((view) => withShares(redisOf, keys, view))),
  };
}

/** Those that are open, the newest first, and after them those that ended within the last week, the last one first. */
export async function listBatches(
  redisOf: RedisOf,
  queues: readonly QueueKeys[],
  most = 100,
): Promise<BatchView[]> {
  const all = async (kind: 'open' | 'ended', count: number): Promise<BatchView[]> =>
    (await Promise.all(queues.map((keys) => readAll(redisOf, keys, kind, count)))).flat();
  const open = (await all('open', most)).toSorted((a, b) => b.createdAt - a.createdAt).slice(0, most);
  const room = most - open.length;
  const ended =
    room === 0
      ? []
      : (await all('ended', room)).toSorted((a, b) => (b.endedAt ?? 0) - (a.endedAt ?? 0)).slice(0, room);
  return [...stillOpen(open, ended), ...ended];
}

/** The open ones without those that ended before the others were read. */
export function stillOpen(open: readonly BatchView[], ended: readonly BatchView[]): BatchView[] {
  const gone = new Set(ended.map(({ id }) => id));
  return open.filter(({ id }) => !gone.has(id));
}

async function readAll(
  redisOf: RedisOf,
  keys: QueueKeys,
  kind: 'open' | 'ended',
  most: number,
): Promise<BatchView[]> {
  const found: BatchView[] = [];
  for (let skip = 0; skip < most; skip += PAGE) {
    const { all, list } = await readBatchPage(redisOf, keys, kind, Math.min(PAGE, most - skip), skip);
    found.push(...list);
    if (skip + PAGE >= all) break;
  }
  return found;
}

/** Cancels a batch. `unknown`: there is none of that id. */
export async function cancelBatch(
  redisOf: RedisOf,
  keys: QueueKeys,
  id: string,
  why: string,
): Promise<'cancelled' | 'over' | 'unknown'> {
  const { queue, result, stats } = keys;
  const redis = redisOf(keys);
  const reply = await requestOnce(
    redis,
    keys,
    (answers, about) => script(redis, 'batch-cancel')(queue, result, stats, answers, id, why, about),
    (told) => told === 1 || told === 2,
  );
  // workers tell them, too
  if (reply === 2) await deliverReports(redisOf, keys).catch(() => undefined);
  return reply === 0 ? 'over' : reply === -1 ? 'unknown' : 'cancelled';
}

/**
 * The results of the parts of a batch, in the order of the parts, a page at a time: of those that have not ended, neither value nor error.
 * `whole`: what has the batch.
 */
export async function* readBatchResults(parts: Parts, whole: Part, id: string): AsyncGenerator<PartResult> {
  for (let from = 0; ; from += PAGE) {
    const ids = await whole.redis.lrange(whole.own.batchIds(id), from, from + PAGE - 1);
    if (ids.length === 0) return;
    const isSpread = parts.all.length > 1;
    const groups = isSpread ? Map.groupBy(ids, (part) => homeOf(parts, part)) : new Map([[whole, ids]]);
    const found = new Map<string, PartResult>();
    const read = async (part: Part, some: readonly string[]): Promise<void> => {
      for (const one of await outcomesIn(part, some)) found.set(one.id, one);
    };
    await Promise.all(Array.from(groups, ([part, some]) => read(part, some)));
    // tasks that tasks have added are where those are
    const others = ids.filter((part) => !found.has(part));
    if (isSpread && others.length > 0) await Promise.all(parts.all.map((part) => read(part, others)));
    if (others.some((part) => !found.has(part))) await checkPartitions(parts, whole, id);
    for (const part of ids) yield found.get(part) ?? { id: part, value: undefined, error: undefined };
  }
}

/** Throws `RangeError` if results may be in partitions that this client does not know. */
async function checkPartitions({ all }: Parts, whole: Part, id: string): Promise<void> {
  const partitions = Number((await whole.redis.hget(whole.own.batch(id), 'partitions')) ?? 1);
  if (partitions <= all.length) return;
  throw new RangeError(
    `batch "${id}" is in ${partitions} partitions, and this client knows ${all.length}: open the queue with the number of partitions that it has`,
  );
}

/** Of those that have ended there. */
async function outcomesIn({ redis, own, resultHash }: Part, ids: readonly string[]): Promise<PartResult[]> {
  const [values, errors] = await Promise.all([
    resultHash.redis.hmget(resultHash.key, ...ids),
    redis.hmgetBuffer(own.errors, ...ids),
  ]);
  return ids.flatMap((id, i) => {
    const value = values[i] ?? undefined;
    const failed = value === undefined ? errors[i] : undefined;
    if (value === undefined && !failed) return [];
    return [{ id, value, error: failed ? parseHeader(failed).error : undefined }];
  });
}

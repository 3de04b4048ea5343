/** What is known of batches: how far they are, and the results of their parts. */
import type { Redis } from 'ioredis';
import type { FailurePolicy } from '../batch-mark.ts';
import { parseHeader } from '../dead-letter-format.ts';
import type { QueueKeys } from '../keys.ts';
import type { Part } from '../parts/part.ts';
import { asCount, asList, asText } from '../scripts/decode-reply.ts';
import { script } from '../scripts/scripts.ts';

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
] as const;
type Field = (typeof FIELDS)[number];
const LONGEST = 1_024;

/** `undefined` if there is no batch of that id, or it ended more than a week ago. */
export async function readBatch(redis: Redis, keys: QueueKeys, id: string): Promise<BatchView | undefined> {
  const [values, dead, inner] = await Promise.all([
    redis.hmget(keys.batch(id), ...FIELDS),
    redis.scard(keys.batchFailed(id)),
    redis.scard(keys.batchInner(id)),
  ]);
  return viewOf(id, (name) => values[FIELDS.indexOf(name)] ?? '', { dead, inner });
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
  if (of('size') === '') return undefined;
  const size = count('size');
  const [succeeded, failed, cancelled] = [count('done'), count('failed'), count('cancelled')];
  const onFailure = (of('policy') || 'wait') as FailurePolicy;
  const state = (of('state') || (of('open') === '' ? 'running' : 'adding')) as BatchState;
  const createdAt = count('created');
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
    why: of('why') || undefined,
    createdAt,
    activeAt: Math.max(createdAt, count('at')),
    endedAt: of('endedAt') === '' ? undefined : count('endedAt'),
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
  redis: Redis,
  keys: QueueKeys,
  kind: 'open' | 'ended',
  most: number,
  skip = 0,
): Promise<BatchPage> {
  const [now, all, ...rows] = asList(
    await script(redis, 'batch-list')(keys.batches, kind, skip, most),
    'batches',
  );
  const list = rows.slice(0, most).flatMap((row) => {
    const [id, ...values] = asList(row, 'a batch', FIELDS.length + 3);
    const [dead, inner] = values.slice(FIELDS.length).map((one) => asCount(one, 'a number of parts'));
    const of = (name: Field): string => asText(values[FIELDS.indexOf(name)], 'a batch', LONGEST);
    return viewOf(asText(id, 'the id of a batch', LONGEST), of, { dead: dead ?? 0, inner: inner ?? 0 }) ?? [];
  });
  return { now: asCount(now, 'the time'), all: asCount(all, 'a number of batches'), list };
}

/** Those that are open, the newest first, and after them those that ended within the last week, the last one first. */
export async function listBatches(redis: Redis, keys: QueueKeys, most = 100): Promise<BatchView[]> {
  const open = await readAll(redis, keys, 'open', most);
  const ended = open.length < most ? await readAll(redis, keys, 'ended', most - open.length) : [];
  return [...stillOpen(open, ended).toSorted((a, b) => b.createdAt - a.createdAt), ...ended];
}

/** The open ones without those that ended before the others were read. */
export function stillOpen(open: readonly BatchView[], ended: readonly BatchView[]): BatchView[] {
  const gone = new Set(ended.map(({ id }) => id));
  return open.filter(({ id }) => !gone.has(id));
}

async function readAll(
  redis: Redis,
  keys: QueueKeys,
  kind: 'open' | 'ended',
  most: number,
): Promise<BatchView[]> {
  const found: BatchView[] = [];
  for (let skip = 0; skip < most; skip += PAGE) {
    const { all, list } = await readBatchPage(redis, keys, kind, Math.min(PAGE, most - skip), skip);
    found.push(...list);
    if (skip + PAGE >= all) break;
  }
  return found;
}

/** Cancels a batch. `unknown`: there is none of that id. */
export async function cancelBatch(
  redis: Redis,
  keys: QueueKeys,
  id: string,
  why: string,
): Promise<'cancelled' | 'over' | 'unknown'> {
  const { queue, result, stats } = keys;
  const reply = await script(redis, 'batch-cancel')(queue, result, stats, id, why);
  return reply === 1 ? 'cancelled' : reply === 0 ? 'over' : 'unknown';
}

/** The results of the parts of a batch, in the order of the parts, a page at a time: of those that have not ended, neither value nor error. */
export async function* readBatchResults(part: Part, id: string): AsyncGenerator<PartResult> {
  const { redis, own, resultHash } = part;
  for (let from = 0; ; from += PAGE) {
    const ids = await redis.lrange(own.batchIds(id), from, from + PAGE - 1);
    if (ids.length === 0) return;
    const [values, errors] = await Promise.all([
      resultHash.redis.hmget(resultHash.key, ...ids),
      redis.hmgetBuffer(own.errors, ...ids),
    ]);
    for (const [i, partId] of ids.entries()) {
      const value = values[i] ?? undefined;
      const failed = value === undefined ? errors[i] : undefined;
      yield { id: partId, value, error: failed ? parseHeader(failed).error : undefined };
    }
  }
}

/**
 * What the partitions of a queue tell each other of batches (scripts/batch/batches.lua): each notes in its own slot what others are to know, in
 * the step that makes it so. Here it is told there, as often as necessary, and forgotten afterwards. Workers do so after the turn that noted
 * something, workers and the controller now and then, clients after what they have done: so it arrives whoever dies in between.
 */
import type { Redis } from 'ioredis';
import { queueKeys, type QueueKeys } from '../keys.ts';
import type { RedisOf } from '../location.ts';
import { asBytes, asList } from '../scripts/decode-reply.ts';
import { readCut, readTexts } from '../scripts/read.ts';
import { script } from '../scripts/scripts.ts';
import { pack } from './pack.ts';

/** Reports that are read at a time. */
const READ = 100;
/** Partitions that are gone through in one call: what is noted meanwhile is told later. */
const MOST_PARTITIONS = 1_000;
/** Ids that a script lists at a time. */
const PAGE = 500;
/** Of one batch: a queue has no more partitions. */
const MOST_SHARES = 256;
/** Longest id or reason, bytes: the controller reads no more of a Redis than that. */
const LONGEST = 2_048;

interface Place {
  readonly redisOf: RedisOf;
  readonly keys: QueueKeys;
  /** Of the partition that has `keys`. */
  readonly redis: Redis;
}

/**
 * Tells what this partition has noted, and what the ones that it tells note in turn. Rejects with the first error when it has told all that
 * it can.
 */
export async function deliverReports(redisOf: RedisOf, from: QueueKeys): Promise<void> {
  const pending = [from];
  const errors: unknown[] = [];
  for (let done = 0; done < MOST_PARTITIONS; done++) {
    const keys = pending.shift();
    if (!keys) break;
    const told = await deliverAll({ redisOf, keys, redis: redisOf(keys) }, errors);
    pending.push(...told.filter(({ queue }) => pending.every((one) => one.queue !== queue)));
  }
  if (errors.length > 0) throw errors[0];
}

/** Resolves to the partitions that have noted something. */
async function deliverAll(place: Place, errors: unknown[]): Promise<readonly QueueKeys[]> {
  const told = new Map<string, QueueKeys>();
  let cursor = '0';
  do {
    const page = await readPage(place, cursor);
    cursor = page.next;
    for (const noted of page.noted) {
      try {
        for (const one of await deliver(place, noted)) told.set(one.queue, one);
      } catch (error) {
        errors.push(error);
      }
    }
  } while (cursor !== '0');
  return [...told.values()];
}

/** As it is stored: something else may have written what is no text. */
type Noted = readonly [batch: Buffer, number: Buffer];

interface Page {
  readonly next: string;
  readonly noted: readonly Noted[];
}

async function readPage({ redis, keys }: Place, cursor: string): Promise<Page> {
  const cut = { bytes: LONGEST, values: 16 * READ };
  const reply = await readCut(redis, keys.batchReports, cut, 'HSCAN', cursor, 'COUNT', READ);
  const [next, found] = asList(reply, 'reports', 2);
  const texts = asList(found, 'reports').map((text) => asBytes(text, 'a report'));
  const noted = texts.flatMap((id, i) => (i % 2 === 0 ? [[id, texts[i + 1] ?? Buffer.of()] as const] : []));
  return { next: String(next), noted };
}

/** Fields of a batch's record. */
async function readFields(
  { redis, keys }: Place,
  id: string,
  ...fields: readonly string[]
): Promise<(string | undefined)[]> {
  const cut = { bytes: LONGEST, values: fields.length };
  const found = asList(
    await readCut(redis, keys.batch(id), cut, 'HMGET', ...fields),
    'a batch',
    fields.length,
  );
  return found.map((one) => (Buffer.isBuffer(one) ? one.toString() : undefined));
}

async function deliver(place: Place, [batch, number]: Noted): Promise<readonly QueueKeys[]> {
  const { redis, keys } = place;
  const id = batch.toString();
  const [role, ended] = await readFields(place, id, 'role', 'endedAt');
  const told =
    role === 'share' ? await tellWhole(place, id) : role === 'whole' ? await tellShares(place, id) : [];
  const isOver = ended === undefined ? 0 : 1;
  const { batchReports } = keys;
  const forgot = await script(redis, 'batch-reported')(
    batchReports,
    keys.batchSpawned(id),
    batch,
    number,
    isOver,
  );
  // there has been more to tell since, but not of what is no batch
  return forgot === 1 || role === undefined ? told : [...told, keys];
}

async function tellWhole(place: Place, id: string): Promise<readonly QueueKeys[]> {
  const { redis, redisOf, keys } = place;
  const fields = ['home', 'homeResult', 'state', 'why', 'endedAt', 'size', 'done', 'failed', 'cancelled'];
  const [home, homeResult, state, why, ended, ...counts] = await readFields(place, id, ...fields);
  if (!home || !homeResult) return [];
  const whole = queueKeys(home, homeResult);
  const [size, done, failed, cancelled] = counts.map((text) => Number(text ?? 0));
  const failure = state === 'failing' || state === 'failed' ? (why ?? 'a part failed') : undefined;
  let notes = false;
  for (let from = 0; ;) {
    const range = [from, from + PAGE - 1];
    const cut = { bytes: LONGEST, values: PAGE };
    const read = await readCut(redis, keys.batchSpawned(id), cut, 'LRANGE', ...range);
    const ids = asList(read, 'ids of parts') as readonly Buffer[];
    const isLast = ids.length < PAGE;
    const over = isLast && ended !== undefined ? 1 : undefined;
    const about = pack({ over, why: failure, size, done, failed, cancelled });
    const { queue, result, stats } = whole;
    const reply = await script(redisOf(whole), 'batch-report')(
      queue,
      result,
      stats,
      id,
      keys.queue,
      about,
      from,
      ...ids,
    );
    const [kind, more = 0] = reply as readonly [kind: number, more?: number];
    notes ||= kind === 1 && more > 0;
    if (kind === 0 || (kind === 1 && isLast)) return notes ? [whole] : [];
    from = kind === 2 ? more : from + ids.length;
  }
}

/** Asks the shares of a batch that have not ended how they stand, or cancels them with it. */
async function tellShares(place: Place, id: string): Promise<readonly QueueKeys[]> {
  const { redis, redisOf, keys } = place;
  const cut = { bytes: LONGEST, values: MOST_SHARES };
  const [[state, why, homeResult], shares] = await Promise.all([
    readFields(place, id, 'state', 'why', 'homeResult'),
    readTexts(redis, keys.batchShares(id), cut, 'SRANDMEMBER', MOST_SHARES),
  ]);
  if (!homeResult) return [];
  const stops = state === 'failing' || state === 'cancelling';
  const told = shares.map(async (name) => {
    // its own result hash is not known here, and not needed
    const share = queueKeys(name, homeResult);
    const reason = stops ? (why ?? 'it was cancelled') : '';
    const { queue, stats } = share;
    const notes = await script(redisOf(share), 'batch-share')(
      queue,
      stats,
      id,
      keys.queue,
      homeResult,
      reason,
    );
    return notes === 1 ? [share] : [];
  });
  return (await Promise.all(told)).flat();
}

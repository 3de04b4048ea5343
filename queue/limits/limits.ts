/** The limits of a queue in Redis: who has set which, and what they hold back (scripts/limits/). */
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../keys.ts';
import { asCount, asList, asMoment, asText } from '../scripts/decode-reply.ts';
import { readCut, readTexts } from '../scripts/read.ts';
import { requestOnce } from '../scripts/answers.ts';
import { script } from '../scripts/scripts.ts';
import { plainText } from '../../runtime/plain-text.ts';
import { BadLimits, checkLimits, limitFields, limitsOfFields, type QueueLimits } from './definition.ts';

/** The limits of a queue are set by a pool: they are changed there. */
export class LimitsOfPool extends Error {
  override name = 'LimitsOfPool';
  /** `pool NAMESPACE/NAME`. */
  readonly by: string;
  constructor(queue: string, by: string) {
    super(
      `the limits of "${queue}" are set by ${by}: change spec.limits of that pool. If the pool is gone, or serves this queue no more, remove them by force`,
    );
    this.by = by;
  }
}

export interface LimitedKey {
  readonly key: string;
  /** Tasks that are held until their key may go on. */
  readonly held: number;
  /** Its tasks in flight, where they are limited. */
  readonly running: number;
  /** When the first held one may begin; `undefined`: when one of the key's tasks has ended. ms of Redis time. */
  readonly nextAt: number | undefined;
}

export interface LimitsView {
  readonly limits: QueueLimits;
  /** Who has set them, `pool NAMESPACE/NAME` for a pool, and when, ms of Redis time. */
  readonly by: string;
  readonly at: number;
  /** Redis time, ms. */
  readonly now: number;
  /** Tasks in the list, which wait for a worker or for the limits of the queue. */
  readonly waiting: number;
  /** Tasks in flight. */
  readonly running: number;
  /** Tasks that the queue's rate lets begin now; `undefined` without one. */
  readonly mayBegin: number | undefined;
  /** Tasks held back beside the queue by the limits of their keys, and how many keys those have. */
  readonly held: number;
  readonly heldKeys: number;
  /** When the next task may begin for which only time is in the way, ms of Redis time. */
  readonly nextAt: number | undefined;
  /** The keys with the most held tasks. */
  readonly keys: readonly LimitedKey[];
}

/** Of a pool. */
export const ownerOf = (pool: string): string => `pool ${pool}`;

/** Tasks that one call of return.lua puts back: some ms of Redis. */
const RETURNED = 1_000;
const LONGEST_DEFINITION = 64;
/** Who has set limits, and a worker's name, bytes. */
const LONGEST_NAME = 1_024;
const MOST_WORKERS = 10_000;
const MOST_KEYS = 100_000;

/**
 * Sets the limits of a queue in place of those that it has. Throws `BadLimits` for limits that cannot be, `LimitsOfPool` for those of
 * a pool, unless that sets them or `force` is given. Resolves to whether they are new.
 */
export async function setLimits(
  redis: Redis,
  keys: QueueKeys,
  limits: QueueLimits,
  by: string,
  force = false,
): Promise<boolean> {
  return write(redis, keys, limitFields(checkLimits(limits)), by, force);
}

/** Resolves to whether there were any. Throws `LimitsOfPool` as above. Tasks that were held are in the queue again. */
export async function removeLimits(
  redis: Redis,
  keys: QueueKeys,
  by: string,
  force = false,
): Promise<boolean> {
  const there = await write(redis, keys, [], by, force);
  // a removal that was interrupted is ended here, too
  await returnHeld(redis, keys, Infinity);
  return there;
}

/** Resolves to whether anything changed. */
async function write(
  redis: Redis,
  keys: QueueKeys,
  fields: readonly string[],
  by: string,
  force: boolean,
): Promise<boolean> {
  const { limits, limitState, held, heldDue, limitSlots, limitRunning } = keys;
  const state = [limits, limitState, held, heldDue, limitSlots, limitRunning];
  const told = await requestOnce(
    redis,
    keys,
    (answers, about) =>
      script(redis, 'limit-set')(...state, answers, by, force ? '1' : '0', ...fields, about),
    (one) => Array.isArray(one) && one[0] === 1,
  );
  const reply = asList(told, 'the end of a change of limits');
  const [done, count, other] = reply;
  if (done === 0) throw new LimitsOfPool(keys.queue, plainText(asText(count, 'who has set the limits')));
  if (done === 3)
    throw new BadLimits(
      `"${keys.queue}" is being moved to another place: set its limits there, when the move has ended`,
    );
  if (count === 1) await countHeldByWorkers(redis, keys);
  if (other === 1) await returnHeld(redis, keys, await countHeld(redis, keys));
  // until then, whoever sets them once more is told to do this: the reply may have been lost, or the process
  if (count === 1 || other === 1) await redis.hdel(limitState, 'uncounted', 'unreturned');
  return done === 1;
}

/** What workers took before there was a limit of keys counts for it. */
async function countHeldByWorkers(redis: Redis, keys: QueueKeys): Promise<void> {
  const cut = { bytes: LONGEST_NAME, values: MOST_WORKERS };
  const workers = await readTexts(redis, keys.workers, cut, 'ZRANGE', 0, MOST_WORKERS - 1);
  for (const worker of workers)
    await script(redis, 'limit-count')(keys.limits, keys.inflight(worker), worker, prefixOf(keys));
}

/** Who has set the limits of the queue: `pool NAMESPACE/NAME` for a pool; `undefined` where it has none. */
export async function limitsSetBy(redis: Redis, keys: QueueKeys): Promise<string | undefined> {
  const by = await readCut(redis, keys.limits, { bytes: LONGEST_NAME, values: 1 }, 'HGET', 'by');
  return by === null ? undefined : asText(by, 'who has set the limits', LONGEST_NAME);
}

/** From the keys themselves: the number in the state may be lost with it. */
async function countHeld(redis: Redis, { held }: QueueKeys): Promise<number> {
  const cut = { bytes: LONGEST_NAME, values: 2 * MOST_KEYS };
  const keysAndCounts = await readTexts(redis, held, cut, 'ZRANGE', 0, MOST_KEYS - 1, 'WITHSCORES');
  return keysAndCounts.reduce((sum, value, i) => (i % 2 === 1 ? sum + Number(value) : sum), 0);
}

/** `left`: how many tasks; of limits that stay, workers hold back those that come meanwhile, for their new key. */
async function returnHeld(redis: Redis, keys: QueueKeys, left: number): Promise<void> {
  const { queue, limits, history, pasts } = keys;
  for (;;) {
    const moved = asCount(
      await script(redis, 'limit-return')(queue, limits, history, pasts, prefixOf(keys), String(RETURNED)),
      'tasks that were held',
    );
    left -= moved;
    if (moved === 0 || left <= 0) return;
  }
}

/** `millrace:{queue}:` */
const prefixOf = ({ limits }: QueueKeys): string => limits.slice(0, -'limits'.length);

/** The limits of a queue and what they hold back, with up to `most` keys; `undefined` where it has none. */
export async function showLimits(redis: Redis, keys: QueueKeys, most = 20): Promise<LimitsView | undefined> {
  const reply = asList(
    await script(redis, 'limit-show')(keys.queue, keys.limits, keys.load, prefixOf(keys), String(most)),
    'limits',
  );
  if (reply.length === 0) return undefined;
  const [definition, numbers, running, now, listing, heldKeys, waiting] = asList(reply, 'limits', 7);
  const found = decodeSurvey([definition, numbers]);
  if (!found) return undefined;
  const { limits, by, at, held, soon, nextAt } = found;
  const listed = asList(listing, 'keys');
  const keysOf = Array.from({ length: listed.length / 4 }, (_, i): LimitedKey => {
    const [key, count, runs, due] = listed.slice(4 * i, 4 * i + 4);
    return {
      key: plainText(asText(key, 'a key')),
      held: asCount(count, 'held tasks'),
      running: asCount(runs, 'tasks of a key'),
      nextAt: typeof due === 'number' ? due : undefined,
    };
  });
  return {
    limits,
    by,
    at,
    now: asCount(now, 'the time'),
    waiting: asCount(waiting, 'tasks in the list'),
    running: asCount(running, 'tasks in flight'),
    mayBegin: soon,
    held,
    heldKeys: asCount(heldKeys, 'keys'),
    nextAt,
    keys: keysOf,
  };
}

/** What the limits of a queue allow: of a sample (survey.lua). */
export interface LimitsSurvey {
  readonly limits: QueueLimits;
  readonly by: string;
  readonly at: number;
  /** Tasks held back beside the queue. */
  readonly held: number;
  /** Tasks that may begin until the horizon by the queue's rate. */
  readonly soon: number | undefined;
  /** Keys of held tasks of which one may begin until then. */
  readonly ready: number;
  /** When the next task may begin for which only time is in the way, ms of Redis time. */
  readonly nextAt: number | undefined;
  /** Tasks in the queue that could begin until then if there were only limits of keys, about. */
  readonly could: number;
}

/** `undefined` for none, and for limits that are being removed. */
export function decodeSurvey(reply: unknown): LimitsSurvey | undefined {
  const pair = asList(reply, 'limits');
  if (pair.length === 0) return undefined;
  const [definition, numbers] = asList(pair, 'limits', 2);
  const list = asList(definition, 'limits');
  if (list.length > LONGEST_DEFINITION) return undefined;
  const texts = list.map((value) => asText(value, 'limits'));
  const fields = new Map(
    Array.from({ length: texts.length / 2 }, (_, i) => [texts[2 * i] ?? '', texts[2 * i + 1] ?? '']),
  );
  const limits = limitsOfFields(fields);
  if (!limits) return undefined;
  const [soon, , held, ready, next, could] = asList(numbers, 'limits', 6);
  return {
    limits,
    by: plainText(fields.get('by') ?? ''),
    at: Number(fields.get('at')) || 0,
    held: asCount(held, 'held tasks'),
    soon: soon === -1 ? undefined : asCount(soon, 'tasks that may begin'),
    ready: asCount(ready, 'keys'),
    nextAt: typeof next === 'number' ? next : asMoment(next, 'when a task may begin'),
    could: asCount(could, 'tasks that could begin'),
  };
}

/**
 * Celery's remote control over Redis: a message that is published reaches every worker that listens, or those that it names.
 * Workers answer into a list of ours, by which answers can be read at any time and by everybody; whoever asks waits for nothing.
 *
 * That a worker is silent says nothing of what it does: one with the solo pool answers only between its tasks. How many were
 * reached is known from Redis, so silent ones are counted.
 */
import type { Redis } from 'ioredis';
import { asBytes, asCount, asList, asText } from '../scripts/decode-reply.ts';
import { script } from '../scripts/scripts.ts';

/** A task that a worker runs. */
export interface RunningTask {
  /** By which it was routed: the name of its queue, unless its user routes otherwise. */
  readonly route: string;
  /** It is not among the unacknowledged messages. */
  readonly acknowledged: boolean;
}

/** What can be asked, and what is answered. */
interface Answering {
  readonly active: readonly RunningTask[];
  /** The names of the queues that a worker takes from. */
  readonly active_queues: readonly string[];
}
export type Inquiry = keyof Answering;

export interface Answers<T> {
  /** Redis time, ms. */
  readonly now: number;
  /** When the last question was asked; 0 for none. */
  readonly asked: number;
  /** Workers that it reached. */
  readonly reached: number;
  /** The newest answer of each worker by its name, such as `celery@pod-1`, and when its question was asked. */
  readonly byWorker: ReadonlyMap<string, { readonly at: number; readonly answer: T }>;
}

export interface CeleryControl {
  /** Reads the answers, after asking anew where the last question is older than `leastMs`; 'no': it asks nothing. One round trip. */
  readonly ask: <K extends Inquiry>(
    redis: Redis,
    inquiry: K,
    leastMs: number | 'no',
  ) => Promise<Answers<Answering[K]>>;
  /** Tells these workers to take nothing more from a queue, or to take from it again. */
  readonly order: (
    redis: Redis,
    order: 'cancel_consumer' | 'add_consumer',
    workers: readonly string[],
    queue: string,
  ) => Promise<void>;
}

/** Bytes of an answer, in base64: some 40 tasks. Of a longer one, its first tasks are counted. */
const LONGEST = 65_536;
const TTL_S = 3_600;

/** `keyPrefix`: Celery's `global_keyprefix`; `list`: of the answers, without it. */
export function celeryControl(keyPrefix: string, list: string): CeleryControl {
  return {
    ask: async (redis, inquiry, leastMs) => {
      const answers = `${list}:${inquiry}`;
      const message = envelope(inquiry, inquiry === 'active' ? { safe: true } : {}, {
        ticket: '@now@',
        // no exchange: straight into the list
        reply_to: { exchange: '', routing_key: answers },
      });
      const reply = await script(redis, 'celery-ask')(
        `${keyPrefix}${answers}`,
        channelOf(redis, keyPrefix),
        message,
        leastMs === 'no' ? -1 : leastMs,
        LONGEST,
        TTL_S,
      );
      return decode(reply, inquiry);
    },
    order: async (redis, order, workers, queue) => {
      await redis.publish(
        channelOf(redis, keyPrefix),
        envelope(order, { queue }, { destination: [...workers] }),
      );
    },
  };
}

function channelOf({ options }: Redis, keyPrefix: string): string {
  return `${keyPrefix}/${options.db ?? 0}.celery.pidbox`;
}

function envelope(method: string, args: object, more: object): string {
  const body = { method, arguments: args, destination: null, pattern: null, matcher: null, ...more };
  return JSON.stringify({
    body: JSON.stringify(body),
    'content-encoding': 'utf-8',
    'content-type': 'application/json',
    headers: { clock: 0, expires: 0 },
    properties: {
      delivery_mode: 1,
      delivery_info: { exchange: 'celery.pidbox', routing_key: '' },
      delivery_tag: 'millrace',
      priority: 0,
    },
  });
}

function decode<K extends Inquiry>(reply: unknown, inquiry: K): Answers<Answering[K]> {
  const what = 'answers of Celery workers';
  const [now, asked, reached, listed] = asList(reply, what, 4);
  const answers = asList(listed, what);
  const byWorker = new Map<string, { at: number; answer: Answering[K] }>();
  for (let i = 0; i + 2 < answers.length; i += 3) {
    const at = Number(asText(answers[i], what));
    const text = Buffer.from(asBytes(answers[i + 1], what).toString('latin1'), 'base64').toString();
    const one = answers[i + 2] === 1 ? readWhole(text, inquiry) : readBeginning(text, inquiry);
    if (one && Number.isFinite(at) && at > (byWorker.get(one.worker)?.at ?? 0))
      byWorker.set(one.worker, { at, answer: one.answer });
  }
  return { now: asCount(now, what), asked: asCount(asked, what), reached: asCount(reached, what), byWorker };
}

interface Answer<K extends Inquiry> {
  readonly worker: string;
  readonly answer: Answering[K];
}

/** `undefined` where it is no answer to this: a worker that cannot answer says so in the form of an error. */
function readWhole<K extends Inquiry>(text: string, inquiry: K): Answer<K> | undefined {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return undefined;
  }
  const [entry] = Object.entries(parsed ?? {}) as [string, unknown][];
  if (!entry || !Array.isArray(entry[1])) return undefined;
  const items = entry[1] as Record<string, unknown>[];
  const answer =
    inquiry === 'active'
      ? items.map(({ acknowledged, delivery_info: info }) => ({
          route: (info as { routing_key?: string } | undefined)?.routing_key ?? '',
          acknowledged: acknowledged === true,
        }))
      : items.map(({ name }) => String(name));
  return { worker: entry[0], answer: answer as unknown as Answering[K] };
}

/** Of an answer that was cut, the tasks that are there. */
function readBeginning<K extends Inquiry>(text: string, inquiry: K): Answer<K> | undefined {
  const worker = /^\{"([^"\\]+)": *\[/.exec(text)?.[1];
  if (worker === undefined || inquiry !== 'active') return undefined;
  const tasks = Array.from(
    text.matchAll(/"acknowledged": *(true|false).*?"routing_key": *"([^"\\]*)"/g),
    ([, acknowledged, route = '']) => ({ route, acknowledged: acknowledged === 'true' }),
  );
  return { worker, answer: tasks as unknown as Answering[K] };
}

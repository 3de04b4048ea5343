/**
 * Celery's remote control over Redis: a published message reaches every worker that listens, or those that it names. Workers
 * push their answers to a list of ours, so that answers can be read later, by any process, and no caller waits for them. They are JSON,
 * or pickled where the worker's tasks are.
 *
 * A silent worker may be busy or idle: one with the solo pool answers only between tasks. Redis reports how many workers a
 * message reached, so silent ones can be counted.
 */
import type { Redis } from 'ioredis';
import { bindingsIn, type CeleryBinding, type Routed } from './celery-routes.ts';
import { asCount, asList } from '../scripts/decode-reply.ts';
import {
  answersIn,
  askWorkers,
  channelsOf,
  envelope,
  isItem,
  LONGEST,
  numberIn,
  parseAnswer,
  question,
  type Item,
} from './celery-questions.ts';

/** A task that a worker runs. */
export interface CeleryTask extends Routed {
  /** Whether it was acknowledged, and so is not among the unacknowledged messages. */
  readonly acknowledged: boolean;
  /** When it was begun, ms by its worker's clock, where the answer says so. */
  readonly begunAt?: number;
}

interface Latest<T> {
  /** When the question was asked. */
  readonly at: number;
  readonly answer: readonly T[];
}

/** The newest answer of each worker by its name, such as `celery@pod-1`. */
type ByWorker<T> = ReadonlyMap<string, Latest<T>>;

export interface WorkerAnswers {
  /** Redis time, ms. */
  readonly now: number;
  /** When the last questions were asked; 0 for never. */
  readonly asked: number;
  /** Workers that they reached. */
  readonly reached: number;
  readonly active: ByWorker<CeleryTask>;
  /**
   * The names of the queues that each worker consumes, without those that no other worker could take from: of its own
   * (`worker_direct`), and of broadcasts.
   */
  readonly queues: ByWorker<string>;
  /** Names that several workers have, of which each answers for itself. */
  readonly shared: ReadonlySet<string>;
  /** How these are bound. */
  readonly bindings: readonly CeleryBinding[];
}

export interface CeleryControl {
  /**
   * Reads the latest answers about running tasks and consumed queues, after sending both questions again if the last ones are
   * older than `leastMs`; 'no' sends none. One round trip.
   */
  readonly ask: (redis: Redis, leastMs: number | 'no') => Promise<WorkerAnswers>;
  /** Sends both questions, and reads nothing. */
  readonly askAnew: (redis: Redis) => Promise<void>;
  /** Tells these workers to stop or resume consuming a queue. */
  readonly order: (
    redis: Redis,
    order: 'cancel_consumer' | 'add_consumer',
    workers: readonly string[],
    queue: string,
  ) => Promise<void>;
}

const TTL_S = 3_600;
const MOST_BINDINGS = 100;

/** `keyPrefix`: Celery's `global_keyprefix`; `list`: of the answers, without it. */
export function celeryControl(keyPrefix: string, list: string): CeleryControl {
  const questions = [question('active', { safe: true }, list), question('active_queues', {}, list)];
  const call = (redis: Redis, leastMs: number, longest: number): Promise<unknown> =>
    askWorkers(redis, { keyPrefix, list, questions, leastMs, longest, ttlS: TTL_S });
  return {
    ask: async (redis, leastMs) => decode(await call(redis, leastMs === 'no' ? -1 : leastMs, LONGEST)),
    askAnew: async (redis) => void (await call(redis, 0, 0)),
    order: async (redis, order, workers, queue) => {
      const [channel, other] = channelsOf(redis, keyPrefix);
      const message = envelope(order, { queue }, { destination: [...workers] });
      if ((await redis.publish(channel, message)) === 0) await redis.publish(other, message);
    },
  };
}

function decode(reply: unknown): WorkerAnswers {
  const what = 'answers of Celery workers';
  const [time, asked, reached, listed] = asList(reply, what, 4);
  const now = asCount(time, what);
  const active = new Map<string, Latest<CeleryTask>>();
  const queues = new Map<string, Latest<string>>();
  const bindings = new Map<string, CeleryBinding>();
  const shared = new Set<string>();
  for (const { inquiry, at, body, whole } of answersIn(listed, now, what)) {
    const one = whole <= LONGEST ? readWhole(body) : readBeginning(body.toString(), inquiry, whole / LONGEST);
    if (!one) continue;
    const { worker, items } = one;
    if (inquiry === 'active') keepNewest(active, worker, { at, answer: items.map(runningTask) });
    if (inquiry !== 'active_queues') continue;
    if (queues.get(worker)?.at === at) shared.add(worker);
    const common = items.filter((item) => !isOwnQueue(item, worker));
    keepNewest(queues, worker, { at, answer: common.map(({ name }) => String(name)) });
    for (const binding of items.flatMap(bindingsIn)) bindings.set(JSON.stringify(binding), binding);
  }
  const numbers = { now, asked: asCount(asked, what), reached: asCount(reached, what) };
  return { ...numbers, active, queues, shared, bindings: [...bindings.values()].slice(0, MOST_BINDINGS) };
}

/** Workers of one name answer the same question each, and hold together what they say. */
function keepNewest<T>(newest: Map<string, Latest<T>>, worker: string, { at, answer }: Latest<T>): void {
  const before = newest.get(worker) ?? { at: 0, answer: [] };
  if (at > before.at) newest.set(worker, { at, answer });
  else if (at === before.at) newest.set(worker, { at, answer: [...before.answer, ...answer] });
}

/** One that a worker alone takes from. What is sent there is for nobody else, whether the worker is drained or not. */
function isOwnQueue({ name, exchange }: Item, worker: string): boolean {
  const { type } = (exchange ?? {}) as { type?: unknown };
  return type === 'fanout' || name === `${worker}.dq2` || name === `${worker}.dq`;
}

interface Answer {
  readonly worker: string;
  /** Its running tasks, or the queues that it consumes. */
  readonly items: readonly Item[];
}

function runningTask({ acknowledged, delivery_info: info, time_start: begun }: Item): CeleryTask {
  const { routing_key: route, exchange } = (info ?? {}) as { routing_key?: unknown; exchange?: unknown };
  const textOf = (one: unknown): string => (typeof one === 'string' ? one : '');
  const begunS = numberIn(begun);
  return {
    exchange: textOf(exchange),
    route: textOf(route),
    acknowledged: acknowledged === true,
    ...(begunS !== undefined && { begunAt: begunS * 1_000 }),
  };
}

/** `undefined` for anything else, such as the error of a worker that cannot answer. */
function readWhole(body: Buffer): Answer | undefined {
  const [worker, items] = parseAnswer(body) ?? [];
  return worker !== undefined && Array.isArray(items) ? { worker, items: items.filter(isItem) } : undefined;
}

/** The tasks in the beginning of an answer that was cut, as often over as the whole is longer by `times`. */
function readBeginning(text: string, inquiry: string | undefined, times: number): Answer | undefined {
  const worker = /^\{"([^"\\]+)": *\[/.exec(text)?.[1];
  if (worker === undefined || inquiry !== 'active') return undefined;
  const items = Array.from(
    text.matchAll(
      /"acknowledged": *(true|false).{0,512}?"exchange": *"([^"\\]*)", *"routing_key": *"([^"\\]*)"/g,
    ),
    ([, acknowledged, exchange = '', route = '']) => ({
      acknowledged: acknowledged === 'true',
      delivery_info: { exchange, routing_key: route },
    }),
  );
  const all = Math.round(items.length * times);
  return { worker, items: Array.from({ length: all }, (_, i) => items[i % items.length] ?? {}) };
}

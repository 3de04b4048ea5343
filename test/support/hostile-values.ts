/** Values that anyone with access to a queue can write next to it, in an honest Redis: of unexpected forms and sizes. */
import type { Redis } from 'ioredis';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';

type Filling = (redis: Redis, keys: QueueKeys, pool: string) => Promise<unknown>;

const MB = 1_048_576;

/** A memory as a controller writes it, with these parts changed; `raw` goes into the text as it is. */
function memory(queue: string, change: object, learned: object = {}): string {
  const at = Date.now();
  const counters = { taken: 1, completed: 1, failed: 0, retried: 0, serviceUs: 1e6 };
  const service = { mean: 1_000, variance: 1, tasks: 1, finished: 1, stretches: 1, fastMean: 1_000 };
  const idle = { needs: [{ at, replicas: 3 }], gaps: [[1]] };
  const whole = { at, counters, start: null, starts: [], ready: 0, inFlight: 0, curve: [], service, idle };
  const rest = { held: 0, waits: [], over: 0, floors: [], mean: 1 };
  const value = { since: at, knownAt: at, needs: [], learned: { ...whole, ...rest, ...learned }, ...change };
  return JSON.stringify({ version: 1, queues: [queue], memory: value }).replaceAll('"1e999"', '1e999');
}

const remembers =
  (change: object, learned: object = {}): Filling =>
  (redis, keys, pool) =>
    redis.set(keys.memory(pool), memory(keys.queue, change, learned));

const letters =
  (count: number, bytes: number): Filling =>
  async (redis, keys) => {
    const header = JSON.stringify({ error: 'e', attempts: 1, worker: 'w', deliveries: 5 });
    const entry = `${Date.now()} ${header}\n${'x'.repeat(bytes)}`;
    for (let i = 0; i < count; i++) await redis.lpush(keys.dead, entry);
    await redis.hset(keys.stats, 'failed', count);
  };

/** By pool, whose queue has the same name. */
export const VALUES: Readonly<Record<string, Filling>> = {
  'needs-1e300': remembers({}, { idle: { needs: [{ at: 1, replicas: 1e300 }], gaps: [] } }),
  'needs-infinite': remembers({}, { idle: { needs: [{ at: 1, replicas: '1e999' }], gaps: [] } }),
  'needs-negative': remembers({}, { idle: { needs: [{ at: 1, replicas: -5 }], gaps: [] } }),
  'curve-text': remembers({}, { curve: 'text' }),
  'service-nan': remembers({}, { service: { mean: 'NaN', variance: -1, tasks: 1e308, finished: {} } }),
  'window-of-texts': remembers({ needs: ['1', null, { at: 'x', replicas: [] }] }),
  'starts-many': remembers({}, { starts: Array.from({ length: 1_500 }, () => ({ at: 1, replicas: 1e9 })) }),
  'memory-200mb': (redis, keys, pool) => redis.set(keys.memory(pool), 'x'.repeat(200 * MB)),
  'memory-list': (redis, keys, pool) => redis.lpush(keys.memory(pool), 'x'),
  'letters-12-of-30mb': letters(12, 30 * MB),
  'letters-60-of-4mb': letters(60, 4 * MB),
  'letters-foreign': (redis, keys) => redis.lpush(keys.dead, 'x', '1 {"error":5}\n', '1 null\nx', '\n', ''),
  'load-1e308': (redis, keys) => redis.hset(keys.load, { a: '1e308', b: '-1e308', c: 'nan', d: 'x', e: '' }),
  'stats-texts': (redis, keys) => redis.hset(keys.stats, { taken: 'NaN', failed: '1e999', slow1: '-' }),
  'stats-long': (redis, keys) => redis.hset(keys.stats, { taken: 'x'.repeat(8 * MB) }),
  'due-never': (redis, keys) => redis.zadd(keys.delayed, '-inf', 'a', '+inf', 'b', '1e308', 'c'),
  'leases-odd': (redis, keys) => redis.zadd(keys.workers, '-inf', 'x'.repeat(MB), '1e308', 'b'),
  'worker-long': async (redis, keys) => {
    await redis.zadd(keys.workers, 1, 'w');
    await redis.hset(keys.worker('w'), { epoch: 'x'.repeat(8 * MB), state: 'x'.repeat(8 * MB) });
  },
  'letters-wrong-type': (redis, keys) => redis.set(keys.dead, 'text'),
  'workers-wrong-type': (redis, keys) => redis.set(keys.workers, 'text'),
  'decisions-long': (redis, keys, pool) =>
    redis.lpush(keys.decisions(pool), ...Array.from({ length: 50 }, () => 'x'.repeat(MB))),
  'paused-long': (redis, keys) => redis.set(keys.paused, `1e999 ${'x'.repeat(8 * MB)}`),
};

export async function fill(redis: Redis, namespace: string, name: string): Promise<void> {
  await VALUES[name]?.(redis, queueKeys(name, `${name}:result`), `${namespace}/${name}`);
}

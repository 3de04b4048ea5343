/**
 * What the live workers of a queue library leave in Redis, so that a read finds them: their records and heartbeats, their named
 * connections, their answers to remote control. They run nothing. Lists, and formats of one's own, have nothing of that kind.
 */
import type { Redis } from 'ioredis';
import type { SourceSettings } from '../../queue/sources/sources.ts';

const BEAT_MS = 5_000;
/** For what expires by its score. */
const LATER_MS = 3_600_000;

type Kind = keyof SourceSettings;
/** Writes what one worker writes with a heartbeat. */
type Beat<K extends Kind> = (
  redis: Redis,
  settings: Required<SourceSettings>[K],
  host: string,
) => Promise<unknown>;

const BEATS: { readonly [K in Kind]?: Beat<K> } = {
  arq: (redis, { queues }) => all(queues, (queue) => redis.set(`${queue}:health-check`, 'j_complete=0')),
  asynq: async (redis, { queues }, host) => {
    const key = `asynq:servers:{${host}:1:a}`;
    // the queues of a server in protobuf: a name with its length before it
    await redis.set(key, queues.map((queue) => `\n${String.fromCharCode(queue.length)}${queue}`).join(''));
    await redis.zadd('asynq:servers', (Date.now() + LATER_MS) / 1_000, key);
  },
  dramatiq: (redis, _, host) => redis.zadd('dramatiq:__heartbeats__', Date.now(), host),
  rq: async (redis, { queues }, host) => {
    const worker = `rq:worker:${host}`;
    await redis.hset(worker, { hostname: host, state: 'idle', queues: queues.join(',') });
    await redis.sadd('rq:workers', worker);
    await all(queues, (queue) => redis.sadd(`rq:workers:${queue}`, worker));
  },
  saq: (redis, { queues }, host) =>
    all(queues, async (queue) => {
      const info = `saq:${queue}:worker_info:${host}`;
      await redis.set(info, '{}');
      await redis.zadd(`saq:${queue}:stats`, Date.now() + LATER_MS, info);
    }),
  sidekiq: async (redis, { queues }, host) => {
    const identity = `${host}:1:abcdef`;
    const info = JSON.stringify({ hostname: host, concurrency: 10, queues, version: '7.3.2' });
    await redis.sadd('processes', identity);
    await redis.hset(identity, { info, busy: 0, quiet: 'false', beat: Date.now() / 1_000 });
  },
  stream: (redis, { keys, group }, host) =>
    all(keys, (key) => redis.xgroup('CREATECONSUMER', key, group, host)),
  taskiq: (redis, { queues, group }, host) =>
    group === undefined
      ? Promise.resolve()
      : all(queues, (key) => redis.xgroup('CREATECONSUMER', key, group, host)),
};

/** What is there for as long as a worker is connected. */
const CONNECTIONS: { readonly [K in Kind]?: Beat<K> } = {
  bullmq: (connection, { queues: [queue = ''], prefix }, host) =>
    connection.client('SETNAME', `${prefix}:${Buffer.from(queue).toString('base64')}:w:${host}`),
  celery: async (connection, { queues }, host) => {
    const answering = connection.duplicate();
    connection.once('end', () => answering.disconnect());
    connection.on('message', (_, message: string) => answer(answering, message, queues, `celery@${host}`));
    await connection.subscribe(`/${connection.options.db ?? 0}.celery.pidbox`);
  },
};

function answer(redis: Redis, message: string, queues: readonly string[], worker: string): void {
  const {
    method,
    ticket,
    reply_to: to,
  } = JSON.parse((JSON.parse(message) as { body: string }).body) as Inquiry;
  const items = method === 'active' ? [] : queues.map((name) => ({ name }));
  const body = Buffer.from(JSON.stringify({ [worker]: items })).toString('base64');
  const reply = JSON.stringify({ body, headers: { ticket, clock: 1 }, properties: { delivery_mode: 2 } });
  redis.lpush(to.routing_key, reply).catch(() => undefined);
}

interface Inquiry {
  readonly method: string;
  readonly ticket: string;
  readonly reply_to: { readonly routing_key: string };
}

/** So many workers, each in a place of its own, until it is disposed. Resolves when all are there. */
export async function attend(
  redis: Redis,
  settings: SourceSettings,
  workers: number,
): Promise<AsyncDisposable> {
  await using stack = new AsyncDisposableStack();
  const [[kind, own] = []] = Object.entries(settings) as [Kind, { queues?: string[]; keys?: string[] }][];
  if (kind === undefined) throw new RangeError('a source has one field');
  const [name = ''] = own?.queues ?? own?.keys ?? [];
  const hosts = Array.from({ length: workers }, (_, i) => `${name}-workers-7d9f-${i}`);
  const connect = CONNECTIONS[kind] as Beat<Kind> | undefined;
  for (const host of connect ? hosts : []) {
    const connection = stack.adopt(redis.duplicate(), (one) => one.disconnect());
    await connect?.(connection, own as never, host);
  }
  const beat = BEATS[kind] as Beat<Kind> | undefined;
  const beatAll = (): Promise<unknown> => all(hosts, async (host) => beat?.(redis, own as never, host));
  await beatAll();
  if (beat) {
    const timer = setInterval(() => void beatAll().catch(() => undefined), BEAT_MS);
    stack.defer(() => clearInterval(timer));
  }
  return stack.move();
}

function all<T>(each: readonly T[], run: (one: T) => Promise<unknown>): Promise<unknown> {
  return Promise.all(each.map(run));
}

/**
 * `sources-seen`: what is left to do in the queue of a library, by its own tasks; what KEDA's Redis scaler reads there; and what a
 * pool with a source counts, each in states that real workers have brought about on a real Redis.
 *
 * KEDA's `redis` trigger reads the length of one key, and `redis-streams` one of three numbers. Both are read here with the same
 * commands, at the same moment as the source.
 */
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { table } from '../cli/terminal/table.ts';
import { createAsk } from '../queue/sources/ask.ts';
import { readSource } from '../queue/sources/read.ts';
import type { Source } from '../queue/sources/source.ts';
import { sourceOf, type SourceSettings } from '../queue/sources/sources.ts';
import { UsageError } from '../runtime/program.ts';
import { cases } from '../test/sources/cases.ts';
import type { LibraryCase } from '../test/sources/library.ts';
import { startRedis } from '../test/support/redis.ts';
import type { Bench, BenchOptions } from './report/report.ts';
import { statesOf, type State } from './sources/seen-states.ts';

/** Beyond the time by which the source's knowledge is late: a delayed task is due by then. */
const SETTLE_MS = 1_500;
const LOOK_EVERY_MS = 1_000;

interface Row {
  readonly state: string;
  readonly left: number;
  readonly note?: string;
  /** What KEDA would read. */
  readonly keda: string;
  readonly pool: number;
  /** The pods that are held for what they run. */
  readonly busy: string;
}

export const sourcesSeen: Bench = async (options) => {
  const chosen = cases.filter(({ settings }) => !options.source || kindOf(settings) === options.source);
  const kinds = [...new Set(cases.map(({ settings }) => kindOf(settings)))].join(', ');
  if (chosen.length === 0) throw new UsageError(`there is no source "${options.source}": there are ${kinds}`);
  const libraries: { name: string; keda: string; rows: readonly Row[] }[] = [];
  for (const one of chosen)
    libraries.push({ name: one.name, keda: kedaOf(one.settings).words, rows: await rowsOf(one, options) });
  return {
    text: libraries.map(({ name, keda, rows }) => `${name}\n${tableOf(keda, rows)}`).join('\n'),
    data: { libraries },
  };
};

const kindOf = (settings: SourceSettings): string => Object.keys(settings)[0] ?? '';

function tableOf(keda: string, rows: readonly Row[]): string {
  return table(
    ['', 'LEFT TO DO', keda, 'POOL', 'BUSY PODS'],
    rows.map(({ state, left, note, keda: read, pool, busy }) => [
      state,
      note ? `${left} (${note})` : String(left),
      read,
      String(pool),
      busy,
    ]),
  );
}

async function rowsOf(one: LibraryCase, options: BenchOptions): Promise<readonly Row[]> {
  const states = await namesOf(one);
  const rows: Row[] = [];
  for (const [i, state] of states.entries()) {
    options.signal.throwIfAborted();
    rows.push(await rowOf(one, state));
    options.progress(`${one.name}: ${i + 1} of ${states.length} states`);
  }
  return rows;
}

async function namesOf(one: LibraryCase): Promise<readonly State[]> {
  await using server = await startRedis();
  await using library = await one.open(server);
  return statesOf(one, library);
}

/** On a server of its own. */
async function rowOf(one: LibraryCase, { name, reach }: State): Promise<Row> {
  await using server = await startRedis();
  const [redis, gate] = [server.client(), server.client({ db: 1 })];
  await using library = await one.open(server);
  const truth = await reach({ library, redis, gate });
  const source = sourceOf(one.settings);
  const { holding } = source;
  await delay(SETTLE_MS + ('lagMs' in holding ? holding.lagMs : 0));
  // as the controller does, which reads every second: what a first look has asked of workers, the second one has
  for (let look = 0; look < 2; look++) {
    await readSource(redis, source, 0);
    await delay(LOOK_EVERY_MS);
  }
  const [keda, { sample }, busy] = await Promise.all([
    kedaOf(one.settings).read(redis),
    readSource(redis, source, 0),
    busyPods(source, redis),
  ]);
  const { runnable, inFlight } = sample;
  return { state: name, ...truth, keda, pool: runnable.waiting + runnable.due + inFlight, busy };
}

async function busyPods({ holding }: Source, redis: Redis): Promise<string> {
  if (holding.by === 'nobody') return 'not known';
  if (holding.by === 'count') return 'only how many tasks';
  const { workers, unnamed } = await holding.readWorkers(createAsk(redis), redis);
  const busy = workers.filter(({ tasks }) => tasks > 0);
  const pods = busy.map(
    ({ hosts, tasks }) => `${hosts.find((host) => host.startsWith('pod')) ?? '?'} (${tasks})`,
  );
  return [...pods, ...(unnamed > 0 ? [`any (${unnamed})`] : [])].join(', ') || '-';
}

interface Keda {
  readonly words: string;
  readonly read: (redis: Redis) => Promise<string>;
}

/** The trigger that somebody with this library has. */
function kedaOf(settings: SourceSettings): Keda {
  const { stream, taskiq } = settings;
  const [[key = ''] = [], group] = [stream?.keys ?? taskiq?.queues, stream?.group ?? taskiq?.group];
  if (group !== undefined) {
    return { words: 'KEDA: PENDING / LENGTH / LAG', read: (redis) => readStream(redis, key, group) };
  }
  const list = listOf(settings);
  return {
    words: `KEDA: ${settings.arq ? 'ZCARD' : 'LLEN'} ${list}`,
    read: async (redis) => String(settings.arq ? await redis.zcard(list) : await redis.llen(list)),
  };
}

function listOf({ asynq, bullmq, celery, rq, saq, sidekiq, arq, dramatiq, taskiq }: SourceSettings): string {
  if (asynq) return `asynq:{${asynq.queues[0]}}:pending`;
  if (bullmq) return `${bullmq.prefix}:${bullmq.queues[0]}:wait`;
  if (celery) return celery.queues[0] ?? '';
  if (rq) return `rq:queue:${rq.queues[0]}`;
  if (saq) return `saq:${saq.queues[0]}:queued`;
  if (sidekiq) return `queue:${sidekiq.queues[0]}`;
  if (arq) return arq.queues[0] ?? '';
  if (dramatiq) return `dramatiq:${dramatiq.queues[0]}`;
  if (taskiq) return taskiq.queues[0] ?? '';
  return 'jobs';
}

async function readStream(redis: Redis, key: string, group: string): Promise<string> {
  const [[pending], length, groups] = await Promise.all([
    redis.xpending(key, group).catch(() => ['-']),
    redis.xlen(key),
    redis.xinfo('GROUPS', key).catch(() => []),
  ]);
  const [first = []] = groups as unknown[][];
  const lag = first[first.indexOf('lag') + 1];
  return `${String(pending)} / ${length} / ${typeof lag === 'number' ? lag : 'nil'}`;
}

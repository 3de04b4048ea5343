/** The Python libraries that `handlers` compares with: their workers as contestants, with the packages that test/sources pins. */
import { execFile } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Redis } from 'ioredis';
import { closeRedis, openRedis } from '../../queue/connection/connection.ts';
import { preparePython } from '../../test/support/python.ts';
import { startChild } from './child.ts';
import type { Contestant } from './contestants.ts';
import type { BenchRedis } from './redis.ts';

const run = promisify(execFile);
const folder = join(import.meta.dirname, '../workers');
const program = join(folder, 'python_noop.py');

interface Library {
  readonly name: 'rq' | 'arq' | 'celery';
  readonly title: string;
  /** The queue's key, and where it is filled before anybody takes from it. */
  readonly keys: readonly [queue: string, aside: string];
  /** The number of tasks with a result, of so many. */
  readonly done: (redis: Redis, results: Redis, count: number) => Promise<number>;
}

export const LIBRARIES: readonly Library[] = [
  {
    name: 'rq',
    title: 'RQ, SimpleWorker',
    keys: ['rq:queue:noop', 'rq:queue:aside'],
    done: (redis) => redis.zcard('rq:finished:aside'),
  },
  {
    name: 'arq',
    title: 'arq',
    keys: ['noop', 'aside'],
    // a task leaves the queue in the transaction that stores its result
    done: async (redis, _results, count) => {
      const [waiting, aside] = await Promise.all([redis.zcard('noop'), redis.zcard('aside')]);
      return count - waiting - aside;
    },
  },
  {
    name: 'celery',
    title: 'Celery, prefork',
    keys: ['noop', 'aside'],
    done: (_redis, results) => results.dbsize(),
  },
];

/** `processes` of them. Throws what is missing of Python. */
export async function pythonLibrary(
  { url }: BenchRedis,
  { name, title, keys: [queue, aside], done }: Library,
  processes: number,
): Promise<Contestant> {
  const python = await preparePython(
    await readFile(join(folder, `../../test/sources/python/${name}.txt`), 'utf8'),
  );
  if (python instanceof Error) throw python;
  const env = { ...process.env, REDIS_URL: url, PYTHONPATH: folder, PYTHONDONTWRITEBYTECODE: '1' };
  const redis = openRedis({ url });
  const results = openRedis({ url: `${url}/1` });
  await Promise.all([redis.flushdb(), results.flushdb()]);
  const child = startChild({ file: python, args: [program, 'work', name, String(processes)], env });
  let count = 0;
  return {
    name: `${title}, ${processes} process${processes === 1 ? '' : 'es'}`,
    children: [child],
    ready: async () => Number(await redis.get(`ready:${name}`)) >= (name === 'celery' ? 1 : processes),
    fill: async (tasks) => {
      count = tasks;
      await run(python, [program, 'push', name, String(tasks)], { env });
    },
    release: async () => void (await redis.rename(aside, queue)),
    done: () => done(redis, results, count),
    verify: async () => {
      const found = await done(redis, results, count);
      if (found !== count) throw new Error(`${title} has ${found} results of ${count} tasks`);
    },
    clear: async () => {
      if (name === 'rq') await redis.del('rq:finished:aside');
      await results.flushdb();
    },
    [Symbol.asyncDispose]: async () => {
      await child[Symbol.asyncDispose]();
      await Promise.all([redis.flushdb(), results.flushdb()]);
      await Promise.all([closeRedis(redis), closeRedis(results)]);
    },
  };
}

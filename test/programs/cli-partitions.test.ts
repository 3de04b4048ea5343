/** The commands about a queue in partitions, as a shell sees them: one queue, whose lists a real worker serves. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { partitionKeys, partitionOf } from '../../queue/partitions.ts';
import { eventually } from '../support/eventually.ts';
import { millrace, type Ended } from '../support/millrace.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';

let server: RedisServer;
beforeAll(async () => {
  server = await startRedis();
});
afterAll(() => server[Symbol.asyncDispose]());

const PARTITIONS = 3;
/** Of all partitions. */
const ids = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];

function cli(queue: string, result: string, ...args: string[]): Promise<Ended> {
  const env = { MILLRACE_REDIS_URL: server.url, MILLRACE_PARTITIONS: String(PARTITIONS) };
  return millrace([...args, '--queue', queue, '--result', result], { env });
}

test('tasks go to the list of their id, are counted together, and run', async () => {
  const keys = freshKeys();
  const { queue, result } = keys;
  const run = (...args: string[]): Promise<Ended> => cli(queue, result, ...args);
  const redis = server.client();
  expect(new Set(ids.map((id) => partitionOf(id, PARTITIONS))).size).toBe(PARTITIONS);
  const pushed = await millrace(
    ['enqueue', '--stdin', '--redis', server.url, '--queue', queue, '--result', result, '--partitions', '3'],
    { input: ids.join('\n') },
  );
  expect(pushed).toMatchObject({ code: 0, stdout: `${ids.join('\n')}\n` });
  for (const [i, list] of partitionKeys(queue, result, PARTITIONS).entries())
    expect(await redis.lrange(list.queue, 0, -1)).toEqual(
      ids.filter((id) => partitionOf(id, PARTITIONS) === i).toReversed(),
    );

  const [whole, each, paused, cancelled] = await Promise.all([
    run('inspect', '-o', 'json'),
    run('inspect', '--each'),
    run('pause'),
    run('cancel', 'f'),
  ]);
  expect(JSON.parse(whole.stdout)).toMatchObject({ queue, waiting: ids.length, inFlight: 0 });
  expect(each.stdout.split('\n').filter((line) => line.includes(':{'))).toHaveLength(PARTITIONS);
  expect(paused.stdout).toBe(`${queue} is paused\n`);
  expect(cancelled.stdout).toBe('f: marked\n');
  expect((await run('resume')).stdout).toBe(`${queue} is resumed\n`);

  const handler = (task: unknown): string => {
    if (task === 'e') throw new Error('no e today');
    return `done ${String(task)}`;
  };
  await using worker = startWorker(server, keys, {
    handler,
    partitions: PARTITIONS,
    retry: { attempts: 1, backoff: { initialMs: 1, maxMs: 1, jitter: false } },
  });
  await worker.ready();
  const home = partitionKeys(queue, result, PARTITIONS)[partitionOf('e', PARTITIONS)];
  await eventually(async () => expect(await redis.llen(home?.dead ?? '')).toBe(1));
  const [found, workers, dead] = await Promise.all([
    run('result', 'b', '--timeout', '60s'),
    run('workers', '-o', 'json'),
    run('dead', 'list', '-o', 'json'),
  ]);
  expect(found).toMatchObject({ code: 0, stdout: 'done b' });
  expect(JSON.parse(workers.stdout)).toMatchObject([{ id: worker.id }]);
  expect(JSON.parse(dead.stdout)).toMatchObject([{ task: 'e', error: 'failed 1 of 1 attempts: no e today' }]);
  expect((await run('dead', 'drop', 'e')).stdout).toBe('1 dropped\n');
});

test('doctor: uneven lists, workers of another number, and tasks that no number names', async () => {
  const keys = freshKeys();
  const { queue, result } = keys;
  const redis = server.client();
  await using worker = startWorker(server, keys, { id: 'w-2', handler: () => 'x', partitions: 2 });
  await worker.ready();
  const flood = Array.from({ length: 300 }, (_, i) => `t${i}`);
  await redis.lpush(`${queue}:{11}`, ...flood);
  await redis.lpush(`${queue}:{20}`, 'stranded');
  await redis.lpush(queue, 'plain');
  const env = { MILLRACE_REDIS_URL: server.url };
  const seen = await millrace(
    ['doctor', '--queue', queue, '--result', result, '--partitions', '12', '-o', 'json'],
    { env },
  );
  const notes = (JSON.parse(seen.stdout) as { about: string; note: string }[])
    .filter(({ about }) => about === `queue ${queue}`)
    .map(({ note }) => note);
  expect(notes).toEqual([
    '300 waiting, 0 in flight, 0 delayed, 0 dead, 1 worker, in 12 lists',
    'not all of its 12 lists are served by w-2 (2)',
    `300 of 300 waiting tasks are in ${queue}:{11}: one server has most of the work`,
    `lists of another number of partitions hold something, and nothing serves them: ${queue} (1 task), ${queue}:{20} (1 task)`,
  ]);
});

test('a number that is none, a name with a hash tag', async () => {
  const refused = (...args: string[]): Promise<string> =>
    millrace(['inspect', '--redis', server.url, ...args]).then(({ code, stderr }) => `${code} ${stderr}`);
  const [none, tagged] = await Promise.all([
    refused('--queue', 'q', '--partitions', '0'),
    refused('--queue', '{q}', '--partitions', '2'),
  ]);
  expect(none).toMatch(/^2 .*partitions are a number from 1 to 256/s);
  expect(tagged).toMatch(/^2 .*"\{q\}" has a hash tag/s);
});

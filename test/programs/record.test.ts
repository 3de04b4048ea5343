/** `millrace dev`, `explain`, `record` and `simulate` as whole programs: a history is shown, recorded, and simulated. */
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { queueKeys } from '../../queue/keys.ts';
import { readTimeline } from '../../queue/pool/timeline.ts';
import { eventually } from '../support/eventually.ts';
import { MILLRACE, millrace, start, type Program } from '../support/millrace.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { TASKS } from '../support/workers.ts';

const TASKS_IN_ALL = 60;
let folder: string;
let server: RedisServer;
let redis: Redis;
let pool: Program;
let live: string;
/** Of all tasks, s, by the workers' own account. */
let work: number;

/** A pool of four works off three bursts while it is recorded; then it is left alone for long enough to be written of. */
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-record-test-'));
  server = await startRedis();
  redis = server.client();
  const dev = ['--module', TASKS, '--max', '4', '--tasks-per-replica', '5', '--window', '1s'];
  pool = start(MILLRACE, ['dev', '--redis', server.url, ...dev]);
  await pool.prints(/0 to 4 workers/);
  live = join(folder, 'live.csv');
  await using recording = start(MILLRACE, ['record', '--redis', server.url, '--file', live]);
  await eventually(() => expect(recording.stderr()).toMatch(/^recording dev\/task_queue every 100 ms/));
  for (let burst = 1; burst <= 3; burst++) {
    const ids = Array.from(
      { length: TASKS_IN_ALL / 3 },
      (_, i) => `{"id":"${burst}-${i}","sleepMs":${40 + 20 * i}}`,
    );
    await redis.lpush('task_queue', ...ids);
    await eventually(async () => expect(await redis.hlen('result')).toBe((burst * TASKS_IN_ALL) / 3));
  }
  await pool.prints(/→0: 0 waiting/);
  recording.child.kill('SIGINT');
  expect(await recording.ended).toMatchObject({ code: 0 });
  work = Number(await redis.hget('millrace:{task_queue}:stats', 'serviceUs')) / 1e6;
  await eventually(async () => {
    const entries = await readTimeline(redis, queueKeys('task_queue', 'result'), 'dev/task_queue');
    expect(entries.reduce((sum, { completed }) => sum + completed, 0)).toBe(TASKS_IN_ALL);
  });
});
afterAll(async () => {
  await pool?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
  await rm(folder, { recursive: true, force: true });
});

async function read(file: string): Promise<{ tasks: number; work: number }> {
  const [head, ...lines] = (await readFile(file, 'utf8')).trimEnd().split('\n');
  expect(head).toBe('arrival,service');
  return { tasks: lines.length, work: lines.reduce((sum, line) => sum + Number(line.split(',')[1]), 0) };
}

describe('a record', () => {
  test('that was taken live has every task, and the work of all of them', async () => {
    const found = await read(live);
    expect(found.tasks).toBe(TASKS_IN_ALL);
    expect(found.work).toBeCloseTo(work, 1);
  });
  test('out of the timeline has the same', async () => {
    const file = join(folder, 'past.csv');
    const { code, stderr } = await millrace([
      'record',
      '--redis',
      server.url,
      '--since',
      '7d',
      '--file',
      file,
    ]);
    expect({ code, stderr }).toMatchObject({
      code: 0,
      stderr: expect.stringContaining(`${TASKS_IN_ALL} tasks that came within`),
    });
    expect(stderr).toMatch(
      /next: millrace simulate --trace \S+past\.csv --start-time [\d.]+s --target 10s\n$/,
    );
    const found = await read(file);
    expect(found.tasks).toBe(TASKS_IN_ALL);
    expect(found.work).toBeCloseTo(work, 1);
  });
  test('is played again by the simulator', async () => {
    const { code, stdout } = await millrace([
      'simulate',
      '--trace',
      live,
      '--start-time',
      '1s',
      '-o',
      'json',
    ]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ trace: 'live.csv', policies: [{ policy: 'Millrace' }] });
    const table = await millrace(['simulate', '--trace', live, '--start-time', '1s']);
    expect(table.stdout).toMatch(/^live\.csv: 60 tasks, target 10 s\n/);
  });
  test('of nothing is one line', async () => {
    const { code, stderr } = await millrace(['record', 'dev/other', '--redis', server.url, '--since', '1h']);
    expect(code).toBe(1);
    expect(stderr).toMatch(/^millrace: there is no timeline of dev\/other in the last 1h: [^\n]*\n$/);
  });
});

describe('explain', () => {
  test('prints the last decision with its numbers, and the ones before', async () => {
    const { code, stdout } = await millrace(['explain', '--redis', server.url, '--count', '50']);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^dev\/task_queue: 0 \(Enough\), /);
    expect(stdout).toMatch(/^ {2}Rules +plain, 5 tasks a replica: 0$/m);
    expect(stdout).toMatch(/^ {2}To change it +one more from 1 task on; there are 0$/m);
    expect(stdout).toMatch(/^AGO +REPLICAS +CAUSE +DECISION$/m);
    expect(stdout).toMatch(/^\S+ +0→4 +ScaleUp +0→4: 20 waiting, 0 in flight, 5 tasks a replica$/m);
  });
  test('as JSON and as YAML has all the numbers', async () => {
    const json = await millrace([
      'explain',
      'task_queue',
      '--redis',
      server.url,
      '--count',
      '1',
      '-o',
      'json',
    ]);
    expect(JSON.parse(json.stdout)).toMatchObject({
      pool: 'dev/task_queue',
      decisions: [
        { from: 0, to: 0, numbers: { bounds: { maxReplicas: 4 }, tasksPerReplica: 5, windowMs: 1_000 } },
      ],
    });
    const yaml = await millrace(['explain', '--redis', server.url, '-o', 'yaml']);
    expect(yaml.stdout).toMatch(/^pool: dev\/task_queue\ndecisions:\n/);
  });
  test('names the pools that there are when the one that was asked for is none of them', async () => {
    const { code, stderr } = await millrace(['explain', 'tiles', '--redis', server.url]);
    expect(code).toBe(2);
    expect(stderr).toContain(
      'no pool "tiles" was recorded beside the queue "task_queue": there are dev/task_queue',
    );
  });
});

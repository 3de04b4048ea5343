/** The pool of `millrace dev` as a library: real worker processes on a real Redis, and which of them are stopped when. */
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Redis } from 'ioredis';
import { pino } from 'pino';
import { createLocalTarget } from '../../cli/dev/local-target.ts';
import { startPoolLoop } from '../../cli/dev/pool-loop.ts';
import { workerProgram } from '../../cli/dev/worker-program.ts';
import type { Step } from '../../controller/act/step.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';
import { promptly, resultsOf, TASKS } from '../support/workers.ts';

let server: RedisServer;
let redis: Redis;
beforeAll(async () => {
  server = await startRedis();
  redis = server.client();
});
afterAll(() => server[Symbol.asyncDispose]());

test('a line without an end is cut to the size of a line, and the pool continues', async () => {
  const lines: string[] = [];
  // ends its own output, so that the end of the line is that of the stream
  const talkative = `const x = 'x'.repeat(1 << 20); for (let i = 0; i < 20; i++) process.stdout.write(x);
    process.stdout.write('\\nshort\\n'); setInterval(() => {}, 1000);`;
  await using target = createLocalTarget({
    graceMs: 1_000,
    worker: () => ({ file: process.execPath, args: ['-e', talkative], env: process.env }),
    onEvent: (event) => {
      if (event.kind === 'line') lines.push(event.line.text);
    },
  });
  await target.raise(1);
  await eventually(() => expect(lines).toHaveLength(2));
  expect(lines[0]).toBe(`${'x'.repeat(64 << 10)}…`);
  expect(lines[1]).toBe('short');
});

test('workers that are all busy are stopped when they have finished, and not before', async () => {
  const keys = freshKeys();
  const { queue, result } = keys;
  const settings = { redis: server.address, queue, result, concurrency: 1, graceMs: 10_000, retry: promptly };
  /** What each worker that was told to stop held then; `null` if it was gone. */
  const held: Promise<string | null>[] = [];
  const reasons: string[] = [];
  const policy = {
    minReplicas: 0,
    maxReplicas: 3,
    tasksPerReplica: 1,
    windowMs: 0,
    fallback: undefined,
    paused: false,
  };
  await using target = createLocalTarget({
    graceMs: 10_000,
    worker: (id) => workerProgram({ ...settings, module: TASKS }, id, process.env),
    onEvent: ({ kind, id }) => {
      if (kind === 'stopping') held.push(redis.hget(keys.load, id));
    },
  });
  await using _loop = startPoolLoop({
    redis: server.address,
    queues: [keys],
    target,
    pollMs: 100,
    policy,
    log: pino({ level: 'silent' }),
    onStep: ({ decision }: Step) => void reasons.push(decision.reason),
    onError: (error) => void reasons.push(error.message),
  });
  const folder = await mkdtemp(join(tmpdir(), 'millrace-local-pool-'));
  const untilFile = join(folder, 'go');
  const ids = ['a', 'b', 'c'];
  const beganFile = (id: string): string => join(folder, `began ${id}`);
  const orders = ids.map((id) => JSON.stringify({ id, untilFile, beganFile: beganFile(id) }));
  await redis.lpush(keys.queue, ...orders);
  const loads = (): Promise<string[]> => redis.hvals(keys.load);
  await eventually(async () => expect(await loads()).toEqual(['1', '1', '1']));
  await eventually(() => expect(ids.filter((id) => !existsSync(beganFile(id)))).toEqual([]));
  policy.tasksPerReplica = 3;
  await eventually(() => expect(reasons.at(-1)).toMatch(/^3→1: .*; 2 draining$/));
  expect(held).toEqual([]);
  await writeFile(untilFile, '');
  await resultsOf(redis, keys.result, 3);
  await eventually(() => expect(target.workers).toEqual([]));
  // one that has left already has no number any more
  expect((await Promise.all(held)).map((load) => load ?? '0')).toEqual(['0', '0', '0']);
  expect(Number(await redis.hget(keys.stats, 'taken'))).toBe(3);
  await rm(folder, { recursive: true });
});

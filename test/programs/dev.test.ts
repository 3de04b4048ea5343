/** `millrace dev` as a real process: from zero to workers and back, broken modules, and what it leaves behind. */
import { existsSync } from 'node:fs';
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { closeRedis, openRedis } from '../../queue/connection/connection.ts';
import { queueKeys } from '../../queue/keys.ts';
import { openQueue } from '../../queue/queue.ts';
import { eventually } from '../support/eventually.ts';
import { MILLRACE, millrace, start, type Program } from '../support/millrace.ts';
import { startRedis } from '../support/redis.ts';
import { TASKS } from '../support/workers.ts';

let folder: string;
/** For files that tasks wait for. */
let gates: string;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-dev-test-'));
  gates = await mkdtemp(join(tmpdir(), 'millrace-dev-test-gates-'));
});
afterAll(() => Promise.all([folder, gates].map((dir) => rm(dir, { recursive: true, force: true }))));

/** `dev` with a temporary folder of its own, where its Redis keeps what it keeps. */
function dev(...args: string[]): Program {
  return start(MILLRACE, ['dev', ...args], { env: { TMPDIR: folder } });
}

async function urlOf(program: Program): Promise<string> {
  const [, url = ''] = await program.prints(/ at (redis:\/\/127\.0\.0\.1:\d+), for as long as this runs/);
  return url;
}

/** Pids of the processes that a program started, by their parent. */
async function childrenOf(pid: number | undefined): Promise<number[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = await Promise.all(
    pids.map(async (name) => {
      const stat = await readFile(`/proc/${name}/stat`, 'utf8').catch(() => '');
      return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[1] === String(pid) ? [Number(name)] : [];
    }),
  );
  return found.flat();
}

async function expectGone(pids: readonly number[]): Promise<void> {
  expect(pids.length).toBeGreaterThan(0);
  await eventually(() => expect(pids.filter((pid) => existsSync(`/proc/${pid}`))).toEqual([]));
}

describe('a pool on this machine', () => {
  test('50 tasks of a plain client: from 0 to 3 and back, all results, and nothing is left after Ctrl-C', async () => {
    await using program = dev('--module', TASKS, '--max', '3', '--tasks-per-replica', '10', '--window', '1s');
    const plain = openRedis({ url: await urlOf(program) });
    try {
      await program.prints(/0 to 3 workers/);
      const untilFile = join(gates, 'go');
      const tasks = Array.from({ length: 50 }, (_, i) => JSON.stringify({ id: `t${i}`, untilFile }));
      await plain.lpush('task_queue', ...tasks);
      await program.prints(/  0→3: \d+ waiting, 0 in flight, 10 tasks a replica, maxReplicas 3\n/);
      await program.prints(/  3 workers are ready, [\d.]+ s after that\n/);
      await writeFile(untilFile, '');
      await eventually(async () => expect(await plain.hlen('result')).toBe(50));
      await program.prints(
        /  \d→0: 0 waiting, 0 in flight, 10 tasks a replica; the last 1 s needed no more; \d drained\n/,
      );
      expect(await plain.hget('result', 't49')).toBe('{"attempt":1}');
    } finally {
      await closeRedis(plain);
    }
    const children = await childrenOf(program.child.pid);
    program.child.kill('SIGINT');
    expect(await program.ended).toMatchObject({ code: 0, stderr: '' });
    await expectGone(children);
    expect(await readdir(folder)).toEqual([]);
  });

  test('a target wait: begins with a worker for each task, and goes by what it has learned as soon as tasks finished', async () => {
    await using program = dev('--module', TASKS, '--max', '4', '--target-wait', '1s');
    const plain = openRedis({ url: await urlOf(program) });
    try {
      await program.prints(/0 to 4 workers/);
      const push = (from: number, count: number): Promise<number> =>
        plain.lpush(
          'task_queue',
          ...Array.from({ length: count }, (_, i) => `{"id":"t${from + i}","sleepMs":300}`),
        );
      await push(0, 3);
      await program.prints(/  0→3: \d+ waiting, 0 in flight, none has finished yet, target 1 s\n/);
      await eventually(async () => expect(await plain.hlen('result')).toBe(3));
      // enough work that one more worker pays however long it takes to start on a busy machine
      await push(3, 200);
      await program.prints(
        /  [1-3]→[2-4]: \d+ waiting, (?:0\.[3-9]|[1-9][\d.]*) s a task, [\d.]+ m?s to start, target 1 s(, maxReplicas 4)?\n/,
      );
      await eventually(async () => expect(await plain.hlen('result')).toBe(203), { withinMs: 120_000 });
    } finally {
      await closeRedis(plain);
    }
  });

  test('a worker of an idle pool takes as long to start as is printed, whenever the queue is read next', async () => {
    await using program = dev('--module', TASKS, '--min', '1', '--target-wait', '10s');
    const url = await urlOf(program);
    const [, printed] = await program.prints(/  1 worker is ready, ([\d.]+) s after that\n/);
    await eventually(async () => {
      const { stdout } = await millrace(['explain', 'dev/task_queue', '--redis', url]);
      const [, learned] = /a replica takes ([\d.]+) s to start/.exec(stdout) ?? [];
      expect(Math.abs(Number(learned) - Number(printed))).toBeLessThan(5);
    });
  });

  test('Ctrl-C lets workers finish what they run; a second one makes them give it back', async () => {
    await using server = await startRedis();
    await using queue = openQueue({ redis: server.address });
    for (const twice of [false, true]) {
      await using program = dev('--module', TASKS, '--max', '1', '--redis', server.url);
      const untilFile = join(gates, `long-${twice}`);
      const beganFile = `${untilFile}-began`;
      await queue.enqueue({ id: `long-${twice}`, untilFile, beganFile });
      await eventually(() => expect(existsSync(beganFile)).toBe(true));
      program.child.kill('SIGINT');
      await program.prints(/stopping: 1 worker finishes what it runs/);
      if (twice) program.child.kill('SIGINT');
      else await writeFile(untilFile, '');
      expect(await program.ended).toMatchObject({ code: 0, stderr: '' });
      const { inFlight, waiting } = await queue.inspect();
      expect({ inFlight, waiting }).toEqual({ inFlight: 0, waiting: twice ? 1 : 0 });
    }
    expect(await queue.result('long-false', { timeoutMs: 20_000 })).toBe('{"attempt":1}');
  });

  test('when it is killed without a word, its workers and its Redis go too', async () => {
    await using program = dev('--module', TASKS, '--min', '2');
    await program.prints(/2 workers are ready/);
    const children = await childrenOf(program.child.pid);
    expect(children.length).toBeGreaterThanOrEqual(3);
    program.child.kill('SIGKILL');
    await program.ended;
    await expectGone(children);
  });

  test('settings come from the YAML of a pool, flags win, and a command runs tasks', async () => {
    const pool = join(folder, 'pool.yaml');
    await writeFile(
      pool,
      `apiVersion: millrace.dev/v1alpha1
kind: WorkerPool
metadata: { name: upper }
spec:
  redis: { url: redis://redis.in.a.cluster:6379/0 }
  queue: words
  result: loud
  maxReplicas: 7
  scaling: { tasksPerReplica: 2 }
`,
    );
    await using program = dev('--pool', pool, '--command', 'tr a-z A-Z', '--max', '2', '--result', 'louder');
    const url = await urlOf(program);
    await program.prints(/0 to 2 workers for the list "words", results in the hash "louder"/);
    const flags = ['--redis', url, '--queue', 'words', '--result', 'louder'];
    expect((await millrace(['enqueue', 'hello', '--wait', ...flags])).stdout).toBe('HELLO');
    await rm(pool);
  });

  test('takes the queues of a WorkerPool, each of which wakes it', async () => {
    const pool = join(folder, 'queues.yaml');
    await writeFile(pool, 'kind: WorkerPool\nspec: { queues: [urgent, bulk], maxReplicas: 1 }\n');
    await using program = dev('--pool', pool, '--command', 'tr a-z A-Z');
    const url = await urlOf(program);
    await program.prints(/0 to 1 workers for the lists "urgent", "bulk" \(in that order\), results in/);
    for (const queue of ['bulk', 'urgent']) {
      const flags = ['--redis', url, '--queue', queue, '--timeout', '120s'];
      expect((await millrace(['enqueue', queue, '--wait', ...flags])).stdout).toBe(queue.toUpperCase());
    }
    await rm(pool);
  });
});

describe('trouble', () => {
  test('no Redis to start, and no package manager, is one line with what to install', async () => {
    const nothing = await mkdtemp(join(folder, 'path-'));
    const ended = await millrace(['dev', '--command', process.execPath], {
      env: { PATH: nothing, TMPDIR: folder },
    });
    expect(ended.stderr).toMatch(
      /^millrace: there is no Redis to start: install redis-server or valkey-server [^\n]+\n$/,
    );
    expect(ended.code).toBe(1);
    await rm(nothing, { recursive: true });
  });

  test('a package manager is not called without consent', async () => {
    const path = await mkdtemp(join(folder, 'path-'));
    const called = join(folder, 'called');
    for (const tool of ['apt-get', 'brew'])
      await writeFile(join(path, tool), `#!/bin/sh\necho "$0 $*" >>'${called}'\n`, { mode: 0o755 });
    const command = ['dev', '--command', process.execPath];
    const asked = await millrace(command, { env: { PATH: path, TMPDIR: folder } });
    expect(asked.code).toBe(1);
    expect(existsSync(called)).toBe(false);
    if (process.getuid?.() === 0 || process.platform === 'darwin') {
      expect(asked.stderr).toMatch(/\((apt-get|brew): only with --install\)/);
      await millrace([...command, '--install'], { env: { PATH: path, TMPDIR: folder } });
      expect(existsSync(called)).toBe(true);
    }
    await rm(path, { recursive: true });
  });

  test('a module that does not load is reported once, retried with growing delays, and works once fixed', async () => {
    const module = join(folder, 'broken.mjs');
    const tries = join(folder, 'tries');
    const mended = join(folder, 'mended');
    await writeFile(
      module,
      `import { appendFileSync, existsSync } from 'node:fs';
appendFileSync(${JSON.stringify(tries)}, Date.now() + '\\n');
if (!existsSync(${JSON.stringify(mended)})) throw new Error('not yet');
export default (task) => 'did ' + task;
`,
    );
    await using server = await startRedis();
    await using queue = openQueue({ redis: server.address });
    await using program = dev(
      '--module',
      module,
      '--max',
      '4',
      '--tasks-per-replica',
      '1',
      '--redis',
      server.url,
    );
    await program.prints(/0 to 4 workers/);
    await queue.enqueueMany(['a', 'b', 'c', 'd']);
    const told =
      /a worker ended \(exit code 1\): millrace-worker: module .*broken\.mjs does not load.*: not yet; retrying/g;
    await program.prints(new RegExp(told));
    // four at once, then one at a time
    const times = async (): Promise<number[]> =>
      (await readFile(tries, 'utf8')).trim().split('\n').map(Number);
    const seen = await eventually(async () => {
      const now = await times();
      if (now.length < 6) throw new Error(`tried ${now.length} times`);
      return now;
    });
    const [, , , , fifth = 0, sixth = 0] = seen;
    expect(sixth - fifth).toBeGreaterThan(900);
    expect(program.stdout().match(told)).toHaveLength(1);
    await writeFile(mended, '');
    expect(await queue.result('a', { timeoutMs: 120_000 })).toBe('did a');
    await program.prints(/4 workers are ready/);
    program.child.kill('SIGINT');
    expect(await program.ended).toMatchObject({ code: 0, stderr: '' });
    await Promise.all([module, tries, mended].map((file) => rm(file)));
  });

  test('the task of a dead worker is back immediately, not when its lease ends', async () => {
    const module = join(folder, 'deadly.mjs');
    await writeFile(
      module,
      'export default (task, { attempt }) => (attempt === 1 ? process.exit(9) : `survived ${attempt}`);',
    );
    const pool = join(folder, 'deadly.yaml');
    await writeFile(pool, 'kind: WorkerPool\nspec: { retry: { maxDeliveries: 2 }, maxReplicas: 1 }\n');
    await using program = dev('--module', module, '--pool', pool);
    await using queue = openQueue({ redis: await urlOf(program) });
    await queue.enqueue('x');
    await program.prints(/a worker ended \(exit code 9\); retrying\n/);
    await program.prints(/worker 1 ended: exit code 9. The task that it held is back in the queue.\n/);
    await expect(queue.result('x', { timeoutMs: 120_000 })).rejects.toThrow(
      /delivered 2 times, and each time its worker was lost; the last one, local-\d+-\d: exit code 9$/,
    );
    program.child.kill('SIGINT');
    expect((await program.ended).code).toBe(0);
    await rm(module);
  });

  test('an unreachable Redis is reported in one line, and everything resumes when it is back', async () => {
    await using server = await startRedis();
    await server.kill();
    await using program = dev('--module', TASKS, '--max', '1', '--redis', server.url);
    await program.prints(
      /Redis at 127\.0\.0\.1:\d+ refuses connections: .*; the number of workers stays as it is\n/,
    );
    await server.start();
    await program.prints(/the queue can be read again\n/);
    await using queue = openQueue({ redis: server.address });
    await queue.enqueue('hello');
    expect(await queue.result('hello', { timeoutMs: 120_000 })).toBe('hello');
    program.child.kill('SIGTERM');
    expect((await program.ended).code).toBe(0);
  });

  test('a port of the dashboard that is in use is one line with the flag for another', async () => {
    await using server = await startRedis();
    const used = String(server.port);
    const ended = await millrace(['dev', '--module', TASKS, '--redis', server.url, '--dashboard', used]);
    expect([ended.code, ended.stderr]).toEqual([
      1,
      `millrace: cannot listen on port ${used}: it is in use: choose another with --dashboard\n`,
    ]);
  });

  test.each([
    ['priorities', 'priorities: [high]', 'priorities'],
    ['limits', 'limits: { rate: 5/s }', 'limits'],
  ] as const)('a Redis that restarts empty, or is emptied, is told of %s again', async (name, spec, key) => {
    const pool = join(folder, `${name}.yaml`);
    await writeFile(pool, `kind: WorkerPool\nspec: { queue: told, result: r, maxReplicas: 1, ${spec} }\n`);
    await using server = await startRedis();
    await using program = dev('--module', TASKS, '--redis', server.url, '--pool', pool);
    const keys = queueKeys('told', 'r');
    const isThere = async (): Promise<void> => expect(await server.client().exists(keys[key])).toBe(1);
    await eventually(isThere);
    await server.client().set('before', 1);
    await server.restart();
    expect(await server.client().exists('before')).toBe(0);
    await eventually(isThere);
    await server.client().flushall();
    await server.client().lpush('told', 'a');
    await eventually(isThere);
    program.child.kill('SIGTERM');
    expect((await program.ended).code).toBe(0);
    await rm(pool);
  });
});

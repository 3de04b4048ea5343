/** The worker as the first process of a container, in a PID namespace of its own: from the sources, and as its image starts. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { startRedis } from '../support/redis.ts';
import { freshKeys } from '../support/turns.ts';
import { resultsOf } from '../support/workers.ts';

const root = new URL('../../', import.meta.url).pathname;
const MAIN = join(root, 'worker/main.ts');
const INIT = join(root, 'worker/process/init.sh');

let dir: string;
let leave: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'millrace-init-'));
  leave = join(dir, 'leave.sh');
  // its helper leaves the process group, and then its parent ends
  await writeFile(leave, '#!/bin/sh\nsetsid sh -c "(exit 0) & exit" >/dev/null 2>&1 &\ncat\n');
  await chmod(leave, 0o755);
});
afterAll(() => rm(dir, { recursive: true }));

/** Runs `command` as process 1 of a namespace of its own, which ends with it. */
function runFirst(command: readonly string[]): ChildProcess {
  const own = ['--pid', '--fork', '--mount-proc', '--kill-child'];
  const rights = process.getuid?.() === 0 ? [] : ['--user', '--map-root-user'];
  return spawn('unshare', [...rights, ...own, ...command], { stdio: ['pipe', 'pipe', 'pipe'] });
}

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly state: string;
}

async function processes(): Promise<Process[]> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const found = pids.map(async (pid): Promise<Process[]> => {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '');
    const [state = '', parent = ''] = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    return stat === '' ? [] : [{ pid: Number(pid), parent: Number(parent), state }];
  });
  return (await Promise.all(found)).flat();
}

/** Of a process: its children, theirs, and so on. */
async function under(pid: number): Promise<Process[]> {
  const all = await processes();
  const family = new Set([pid]);
  for (let known = 0; known < family.size;) {
    known = family.size;
    for (const one of all) if (family.has(one.parent)) family.add(one.pid);
  }
  return all.filter((one) => one.pid !== pid && family.has(one.pid));
}

test.concurrent.each([
  ['from the sources', [process.execPath, MAIN]],
  ['as in the image', ['sh', INIT, process.execPath, MAIN]],
])('%s: no zombie is left, and SIGTERM ends it well', async (_what, worker) => {
  await using server = await startRedis();
  const redis = server.client();
  const keys = freshKeys();
  const where = ['--redis', server.url, '--queue', keys.queue, '--result', keys.result];
  const first = runFirst([...worker, ...where, '--command', leave, '--concurrency', '2']);
  const ended = once(first, 'exit');
  const log = text(first.stderr ?? process.stdin);
  try {
    await redis.lpush(keys.queue, ...Array.from({ length: 20 }, (_, i) => `task ${i}`));
    await resultsOf(redis, keys.result, 20);
    const zombies = async (): Promise<Process[]> =>
      (await under(first.pid ?? 0)).filter(({ state }) => state === 'Z');
    await eventually(async () => expect(await zombies()).toEqual([]));
    const init = (await processes()).find(({ parent }) => parent === first.pid);
    process.kill(init?.pid ?? 0, 'SIGTERM');
    expect(await ended).toEqual([0, null]);
    expect(await log).toContain('"stopped"');
    expect(await redis.zcard(keys.workers)).toBe(0);
  } finally {
    first.kill('SIGKILL');
  }
});

test.each([
  ['exit 7', 7],
  ['kill -KILL $$', 137],
  ['cat', 0],
])('the exit code of %s is %i', async (script, code) => {
  const first = runFirst(['sh', INIT, 'sh', '-c', script]);
  first.stdin?.end('to the command');
  const said = text(first.stdout ?? process.stdin);
  expect(await once(first, 'exit')).toEqual([code, null]);
  expect(await said).toBe(script === 'cat' ? 'to the command' : '');
});

/** `millrace` and a pool with a source: what shows it as any other, and what only a queue of Millrace can do. */
import { Queue, Worker } from 'bullmq';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { POOLS } from '../../kube/resources.ts';
import { eventually } from '../support/eventually.ts';
import { millrace, MILLRACE, type Ended } from '../support/millrace.ts';
import { openTerminal } from '../support/terminal.ts';
import { poolManifest, startWorld, type World } from '../support/world.ts';

let world: World;
let namespace: string;
beforeAll(async () => {
  world = await startWorld();
  namespace = await world.namespace();
  const create = (name: string, source: object): Promise<unknown> => {
    const manifest = poolManifest(name, world.redis, { queue: undefined, result: undefined, source });
    return world.objects.create(POOLS, namespace, manifest);
  };
  await create('mail', { bullmq: { queues: ['mail'] } });
  await create('nothing', { bullmq: { queues: ['nothing'] } });
  await create('jobs', { list: { keys: ['jobs'] } });
});
afterAll(async () => await world?.[Symbol.asyncDispose]());

function run(...args: string[]): Promise<Ended> {
  return millrace([...args, '--namespace', namespace], { env: { KUBECONFIG: world.server.kubeconfig } });
}

test.each([
  ['enqueue', 'a', '--pool', 'mail'],
  ['workers', 'mail', '--tasks'],
  ['pause', 'mail'],
  ['dead', 'list', '--pool', 'mail'],
  ['drain', '--pool', 'mail'],
])('%s is for queues of Millrace', async (...args) => {
  const { code, stderr } = await run(...args);
  expect(code).toBe(2);
  expect(stderr).toContain(
    'pool "mail" runs the tasks of another library (bullmq:mail): use that library for this; millrace pools, workers, explain and doctor show the pool',
  );
});

test('workers and top list the workers of the library', async () => {
  const { host, port } = world.redis;
  const connection = { host, port, maxRetriesPerRequest: null };
  const queue = new Queue('busy', { connection });
  await queue.add('a', {});
  const finish = Promise.withResolvers<void>();
  const worker = new Worker('busy', () => finish.promise, { connection, name: 'busy-7d9f-abcde' });
  const manifest = poolManifest('busy', world.redis, {
    queue: undefined,
    result: undefined,
    source: { bullmq: { queues: ['busy'] } },
  });
  await world.objects.create(POOLS, namespace, manifest);
  await eventually(async () =>
    expect((await run('workers', 'busy')).stdout).toMatch(
      /^WORKER +HOST +STATE +TASKS +IDLE +AS OF\nbusy-7d9f-abcde +127\.0\.0\.1 +busy +1 +- +now\n$/,
    ),
  );
  expect(JSON.parse((await run('workers', 'busy', '-o', 'json')).stdout)).toMatchObject([
    { id: 'busy-7d9f-abcde', state: 'busy', tasks: 1, ageMs: 0 },
  ]);
  const jobs = await run('workers', 'jobs');
  expect(jobs).toMatchObject({ code: 0, stdout: 'WORKER  HOST  STATE  TASKS  IDLE  AS OF\n' });
  expect(jobs.stderr).toMatch(/^the workers are not known, because a task that was popped/);
  const command = `'${process.execPath}' '${MILLRACE}' top --namespace ${namespace}`;
  await using terminal = await openTerminal({ columns: 100, lines: 20 }, command, {
    KUBECONFIG: world.server.kubeconfig,
  });
  await terminal.shows(/\nbusy /);
  await terminal.press('Home', 'Enter');
  await terminal.shows(/ workers 1 .*\nWORKER .*\nbusy-7d9f-abcde +127\.0\.0\.1 +busy +1 +- +now/);
  await terminal.press('Tab');
  await terminal.shows(/The failed tasks of another library: use that library's tools\./);
  finish.resolve();
  await Promise.all([worker.close(), queue.close()]);
});

test('pools names its queues', async () => {
  expect((await run('pools')).stdout).toMatch(/^mail +bullmq:mail +/m);
});

test('doctor counts it, and says what is wrong', async () => {
  const { host, port } = world.redis;
  const queue = new Queue('mail', { connection: { host, port } });
  await queue.add('a', {});
  await queue.add('b', {}, { delay: 3_600_000 });
  await queue.close();
  const mail = (await run('doctor', 'mail')).stdout;
  expect(mail).toMatch(
    /source bullmq:mail: 1 waiting, 0 in hand, 1 delayed \(0 due\), 0 failed\n.*busy workers: no worker of the library is here, and 1 task waits\n/,
  );
  const nothing = await run('doctor', 'nothing');
  expect(nothing.code).toBe(1);
  expect(nothing.stdout).toMatch(
    /fail {2}source bullmq:nothing: there is no BullMQ queue "nothing" here .*\n +→ check queues and prefix/,
  );
  expect((await run('doctor', 'jobs')).stdout).toMatch(
    /warn {2}busy workers: a task that was popped from a list is in no key of Redis: no pod is removed while a task may run\n +→ set longestTask/,
  );
});

/**
 * The commands and the library while a Redis Cluster changes: each is executed once, where the slot is by then, or fails with a sentence
 * that says so. No reply of the cluster itself is shown to anybody.
 */
import type { Redis } from 'ioredis';
import { describe, expect, test } from 'vitest';
import type { QueueKeys } from '../../queue/keys.ts';
import { partitionKeys, partitionOf } from '../../queue/partitions.ts';
import { openQueue } from '../../queue/queue.ts';
import { startCluster, type RedisCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { MILLRACE, millrace, start, type Ended } from '../support/millrace.ts';
import { freshKeys } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';

/** What a cluster replies for itself. */
const RAW = /\b(?:MOVED|ASK|TRYAGAIN|CLUSTERDOWN|CROSSSLOT)\b/;

const envOf = ({ address: { cluster } }: RedisCluster, { queue, result }: QueueKeys, partitions: number) => ({
  MILLRACE_REDIS_CLUSTER: cluster?.nodes.join(',') ?? '',
  MILLRACE_QUEUE: queue,
  MILLRACE_RESULT: result,
  MILLRACE_PARTITIONS: String(partitions),
});

/** Commands that nodes have redirected, or refused until a slot has moved. */
async function refusals(nodes: readonly Redis[]): Promise<number> {
  const all = nodes.map(async (node) => {
    const stats = await node.info('errorstats');
    const counts = stats.matchAll(/^errorstat_(?:MOVED|ASK|TRYAGAIN):count=(\d+)/gm);
    return [...counts].reduce((sum, [, count]) => sum + Number(count), 0);
  });
  return (await Promise.all(all)).reduce((sum, count) => sum + count, 0);
}

/** Ids of tasks that belong to the first of so many partitions. */
const idsOfFirst = (partitions: number): string[] =>
  Array.from({ length: 100 }, (_, i) => `t${i}`).filter((id) => partitionOf(id, partitions) === 0);

/** Leaves two dead letters and a result. */
async function prepare(cluster: RedisCluster, keys: QueueKeys, partitions: number, ids: readonly string[]) {
  const [bad, worse, done] = ids as [string, string, string];
  await using queue = openQueue({
    redis: cluster.address,
    queue: keys.queue,
    result: keys.result,
    partitions,
  });
  const handler = (task: unknown): string => {
    if (task !== done) throw Object.assign(new Error('no'), { retry: false });
    return 'ok';
  };
  await using worker = startWorker(cluster, keys, { handler, partitions });
  await worker.ready();
  await queue.enqueueMany([bad, worse, done]);
  await eventually(async () => expect(await queue.inspect()).toMatchObject({ dead: 2, inFlight: 0 }));
  expect(await queue.result(done)).toBe('ok');
  await worker.stop();
}

describe.each([1, 2])('%i partitions', (partitions) => {
  test('every command meets a slot that moves, and is executed once where it has gone', async () => {
    await using cluster = await startCluster();
    const nodes = cluster.servers.map((server) => server.client());
    const plain = freshKeys();
    const [first = plain] = partitionKeys(plain.queue, plain.result, partitions);
    const env = envOf(cluster, plain, partitions);
    const [bad, worse, done, one, two, three, later, ...more] = idsOfFirst(partitions) as [
      string,
      ...string[],
    ];
    await prepare(cluster, plain, partitions, [bad, worse ?? '', done ?? '']);

    /** Runs it while the slot of that key moves, which ends when a node has sent the command elsewhere. */
    const meets = async (args: string[], expected: Partial<Ended>, key = first.queue, input = '') => {
      const move = await cluster.beginMove(key);
      const before = await refusals(nodes);
      await using program = start(MILLRACE, args, { env, input });
      await eventually(async () => expect(await refusals(nodes)).toBeGreaterThan(before));
      await move.finish();
      const ended = await program.ended;
      expect({ args, ...ended }).toMatchObject({ args, code: 0, ...expected });
      expect(ended.stdout + ended.stderr).not.toMatch(RAW);
      return ended;
    };
    const lines = (...ids: (string | undefined)[]): string => ids.map((id) => `${id}\n`).join('');

    await meets(['enqueue', one ?? ''], { stdout: lines(one) });
    await meets(['enqueue', '--stdin'], { stdout: lines(two, three) }, first.queue, lines(two, three));
    await meets(['enqueue', later ?? '', '--delay', '1h'], { stdout: lines(later) });
    await meets(['pause', '--reason', 'slots move'], { stdout: `${plain.queue} is paused\n` });
    const seen = await meets(['inspect', '-o', 'json'], {});
    expect(JSON.parse(seen.stdout)).toMatchObject({
      waiting: 3,
      delayed: 1,
      dead: 2,
      pause: { reason: 'slots move' },
    });
    await meets(['resume'], { stdout: `${plain.queue} is resumed\n` });
    await meets(['cancel', two ?? ''], { stdout: `${two}: marked\n` });
    await meets(['cancel', done ?? ''], { stdout: `${done}: finished\n` }, first.result);
    await meets(['result', done ?? ''], { stdout: 'ok' }, first.result);
    const letters = await meets(['dead', 'list', '-o', 'json'], {});
    expect(JSON.parse(letters.stdout)).toMatchObject([{ task: worse }, { task: bad }]);
    await meets(['dead', 'show', bad], {});
    await meets(['dead', 'requeue', bad], { stdout: '1 requeued\n' });
    await meets(['dead', 'drop', '--all'], { stdout: '1 dropped\n' });
    await meets(['workers'], {});
    const screen = await meets(['top', '--once', '--queue', plain.queue], {});
    expect(screen.stdout).toContain(plain.queue);
    await meets(['doctor'], {});

    // what waits is run once each, but for what was cancelled
    const ran: string[] = [];
    const handler = (task: unknown): string => (ran.push(String(task)), 'ran');
    await using worker = startWorker(cluster, plain, { handler, partitions });
    await worker.ready();
    const last = more[0] ?? '';
    const waited = await meets(['enqueue', last, '--wait'], { stdout: 'ran' });
    expect(waited.stderr).toBe('');
    await eventually(() => expect(new Set(ran)).toEqual(new Set([one, three, bad, last])));
    expect(ran).toHaveLength(4);
    const drained = await meets(['drain', '--all'], { stdout: `${worker.id} is drained\n` });
    expect(drained.stderr).toMatch(/^it takes no tasks for 5m/);
    await meets(['drain', '--all', '--undo'], { stdout: `${worker.id} takes tasks again\n` });
  });
});

test('top lists the queues of all primaries', async () => {
  await using cluster = await startCluster();
  const owners = new Set<unknown>();
  const names: string[] = [];
  while (owners.size < cluster.servers.length) {
    const { queue: name, result } = freshKeys();
    owners.add(await cluster.ownerOf(name));
    names.push(name);
    await using queue = openQueue({ redis: cluster.address, queue: name, result });
    await queue.enqueue('a');
    // only a queue that has counted something is known to be one
    await queue.cancel('nobody');
  }
  const shown = await millrace([
    'top',
    '--once',
    '--cluster',
    cluster.address.cluster?.nodes.join(',') ?? '',
  ]);
  expect(shown).toMatchObject({ code: 0, stderr: '' });
  for (const name of names) expect(shown.stdout).toContain(name);
});

/** Runs commands one after the other until that has happened, and once more afterwards. */
async function during(happen: Promise<unknown>, run: (round: number) => Promise<void>): Promise<number> {
  let over = false;
  const ended = happen.finally(() => (over = true));
  ended.catch(() => undefined);
  let round = 0;
  while (!over) await run(round++);
  await ended;
  await run(round++);
  return round;
}

/** It has what the primary has: nothing that was acknowledged can be forgotten. */
async function replicated(primary: Redis): Promise<void> {
  await eventually(async () => expect(await primary.wait(1, 1_000)).toBe(1));
}

test.each(['takes over as it was told to', 'takes over from one that was killed'] as const)(
  'a replica %s: each task that a command has acknowledged is there once, and no other',
  async (how) => {
    await using cluster = await startCluster({ replicas: 1 });
    const keys = freshKeys();
    const env = envOf(cluster, keys, 1);
    const primary = await cluster.ownerOf(keys.queue);
    const replica = await cluster.replicaOf(primary);
    await replicated(primary.client());
    const successor = replica.client();
    const killed = how === 'takes over from one that was killed';
    const happen = killed
      ? async (): Promise<void> => {
          await primary.kill();
          await eventually(async () => expect(await successor.info('replication')).toContain('role:master'), {
            withinMs: 60_000,
          });
        }
      : () => cluster.failOver(keys.queue);
    const acknowledged: string[] = [];
    const failures: string[] = [];
    await during(happen(), async (round) => {
      const [pushed, seen] = await Promise.all([
        millrace(['enqueue', `task ${round}`], { env }),
        millrace(['inspect', '-o', 'json'], { env }),
      ]);
      if (pushed.code === 0) acknowledged.push(pushed.stdout.trim());
      for (const ended of [pushed, seen]) if (ended.code !== 0) failures.push(ended.stderr);
    });
    expect((await successor.lrange(keys.queue, 0, -1)).toReversed()).toEqual(acknowledged);
    // only one whose primary is away may fail, and says so
    for (const text of failures) expect(text).not.toMatch(RAW);
    for (const text of failures) expect(text).toMatch(/^millrace: Redis at cluster .*\n$/);
    if (!killed) expect(failures).toEqual([]);
    expect(acknowledged.at(-1)).toBeDefined();
  },
);

test('a primary without a replica is gone: each command that needs it says which node, and others go on', async () => {
  await using cluster = await startCluster();
  let keys = freshKeys();
  while ((await cluster.ownerOf(keys.queue)) === (await cluster.ownerOf(keys.result))) keys = freshKeys();
  const env = envOf(cluster, keys, 1);
  const run = (...args: string[]): Promise<Ended> => millrace(args, { env });
  // slots without a primary are no reason to refuse the others
  for (const server of cluster.servers)
    await server.client().config('SET', 'cluster-require-full-coverage', 'no');
  const gone = await cluster.ownerOf(keys.result);
  const alive = await cluster.clientOf(keys.queue);
  await gone.kill();
  const others = { ...env, MILLRACE_QUEUE: keys.result, MILLRACE_RESULT: keys.queue };
  const named = new RegExp(`^millrace: .*cluster node 127\\.0\\.0\\.1:${gone.port} refuses connections.*\n$`);
  const refusing = { code: 1, stdout: '', stderr: expect.stringMatching(named) };
  const needing = [
    run('enqueue', 'a'),
    run('cancel', 'a'),
    run('result', 'a'),
    millrace(['dead', 'list'], { env: others }),
    millrace(['drain', '--all'], { env: others }),
  ];
  expect(await Promise.all(needing)).toMatchObject(needing.map(() => refusing));
  expect(await millrace(['doctor'], { env: others })).toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/^fail {2}Redis: .*refuses connections/),
  });
  expect(await run('pause')).toMatchObject({ code: 0, stdout: `${keys.queue} is paused\n` });
  expect(await run('inspect')).toMatchObject({ code: 0 });
  expect(await alive.llen(keys.queue)).toBe(0);
});

test.each([1, 4])(
  'the library in %i partitions, while slots move, a node joins and leaves',
  async (partitions) => {
    await using cluster = await startCluster();
    const plain = freshKeys();
    const [first = plain] = partitionKeys(plain.queue, plain.result, partitions);
    const { queue: name, result } = plain;
    await using queue = openQueue({ redis: cluster.address, queue: name, result, partitions });
    const runs = new Map<string, number>();
    const handler = (task: unknown): string => {
      const id = String(task);
      runs.set(id, (runs.get(id) ?? 0) + 1);
      if (id.startsWith('bad')) throw Object.assign(new Error('no'), { retry: false });
      return `did ${id}`;
    };
    await using worker = startWorker(cluster, plain, { handler, partitions, concurrency: 4 });
    await worker.ready();
    const changes = (async () => {
      for (const key of [first.queue, first.result]) await cluster.moveSlot(key);
      if (partitions > 1) {
        await cluster.joinFor(first.queue);
        await cluster.dropOwnerOf(first.queue);
      }
      await cluster.moveSlot(first.queue);
    })();
    const expected: string[] = [];
    const rounds = await during(changes, async (round) => {
      const ids = Array.from({ length: 10 }, (_, i) => `task ${round}-${i}`);
      const bad = `bad ${round}`;
      expected.push(bad, ...ids);
      await queue.enqueueMany([bad, ...ids]);
      await queue.pause('for a moment');
      expect((await queue.inspect()).pause).toMatchObject({ reason: 'for a moment' });
      expect(await queue.resume()).toBe(true);
      expect(await Promise.all(ids.map((id) => queue.result(id)))).toEqual(ids.map((id) => `did ${id}`));
      expect(await queue.cancel(ids[0] ?? '')).toBe('finished');
      await expect(queue.result(bad)).rejects.toThrow('no');
      expect(await queue.progress(bad)).toBeUndefined();
      await eventually(async () => expect(await queue.dead.find({ ids: [bad] })).toHaveLength(1));
      expect(await queue.dead.drop({ ids: [bad] })).toBe(1);
    });
    expect(rounds).toBeGreaterThan(1);
    expect([...runs.keys()].toSorted()).toEqual(expected.toSorted());
    expect([...runs.values()].every((times) => times === 1)).toBe(true);
    expect(worker.epochs).toBe(1);
  },
);

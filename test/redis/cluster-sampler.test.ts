/** The controller's sampler on a Redis Cluster: queues on several primaries are one pool, which wakes when slots have moved, too. */
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { createClusterWake } from '../../controller/sample/cluster-wake.ts';
import { drainsOf } from '../../controller/act/scale-in.ts';
import { openClusterLinks } from '../../queue/connection/cluster/links.ts';
import type { RedisAddress } from '../../queue/connection/connection.ts';
import { locationOf } from '../../queue/location.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { startCluster, type RedisCluster } from '../support/cluster.ts';
import { sourceOf } from '../../queue/sources/sources.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { known, sample, unknown } from '../support/sampling.ts';
import { freshKeys } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';

let cluster: RedisCluster;
beforeAll(async () => {
  cluster = await startCluster();
});
afterAll(() => cluster[Symbol.asyncDispose]());

/** Keys of two queues on two primaries, as the controller has them. */
async function twoQueues(): Promise<[QueueKeys, QueueKeys]> {
  for (;;) {
    const [one, other] = [freshKeys(), freshKeys()];
    if ((await cluster.ownerOf(one.queue)) === (await cluster.ownerOf(other.queue))) continue;
    const there = (keys: QueueKeys): QueueKeys =>
      locationOf(cluster.address, { ...keys, result: one.result }).keys;
    return [there(one), there(other)];
  }
}

test('two queues on two primaries are one sample, and either wakes the pool', async () => {
  const queues = await twoQueues();
  await using sampling = sample(cluster.address, { pollMs: 200, safetyMs: 600_000 });
  const { sampler, woken } = sampling;
  sampler.add('p', queues);
  await known(sampler, 'p', { waiting: 0, workers: 0 });
  await eventually(() => expect(sampler.wakeMode).toBe('Tracking'));
  for (const { queue } of queues) {
    const redis = await cluster.clientOf(queue);
    // a read that was on its way anyway may find the task first
    await eventually(async () => {
      sampler.setActive('p', false, 0);
      woken.length = 0;
      await redis.lpush(queue, 'a');
      await known(sampler, 'p', { waiting: 1 });
      sampler.setActive('p', true, 0);
      await redis.rpop(queue);
      await known(sampler, 'p', { waiting: 0 });
      expect(woken).toContain('p');
    });
  }
});

test('many queues cost three connections to each primary, and each of them wakes its pool', async () => {
  const admins = new Map(cluster.servers.map((server) => [server, server.client()] as const));
  const connections = async (): Promise<number> => {
    const lists = Array.from(admins.values(), async (admin) => String(await admin.client('LIST')));
    return (await Promise.all(lists)).join('').match(/^id=/gm)?.length ?? 0;
  };
  const before = await connections();
  const all = Array.from({ length: 40 }, freshKeys);
  const owners = await Promise.all(all.map(({ queue }) => cluster.ownerOf(queue)));
  expect(new Set(owners).size).toBe(3);
  await using sampling = sample(cluster.address, { pollMs: 200, safetyMs: 600_000 });
  const { sampler, woken } = sampling;
  for (const [i, keys] of all.entries()) sampler.add(`p${i}`, [locationOf(cluster.address, keys).keys]);
  for (const i of all.keys()) {
    await known(sampler, `p${i}`, { waiting: 0 });
    sampler.setActive(`p${i}`, false, 0);
  }
  await eventually(() => expect(sampler.wakeMode).toBe('Tracking'));
  // a link, and a pair that tracks
  await eventually(async () => expect((await connections()) - before).toBe(3 * 3));
  for (const [i, { queue }] of all.entries()) {
    await admins.get(owners[i] as RedisServer)?.lpush(queue, 'a');
    await eventually(() => expect(woken).toContain(`p${i}`));
  }
});

test('an idle queue whose slot has moved wakes its pool as before', async () => {
  const [keys] = await twoQueues();
  await using sampling = sample(cluster.address, { pollMs: 200, safetyMs: 600_000 });
  const { sampler } = sampling;
  sampler.add('p', [keys]);
  await known(sampler, 'p', { waiting: 0 });
  sampler.setActive('p', false, 0);
  await eventually(() => expect(sampler.wakeMode).toBe('Tracking'));
  await cluster.moveSlot(keys.queue);
  await (await cluster.clientOf(keys.queue)).lpush(keys.queue, 'a');
  await known(sampler, 'p', { waiting: 1 });
});

test('where an idle queue is listened to and its slot moves away, it is noticed without any read', async () => {
  const [keys] = await twoQueues();
  const woken: (string | undefined)[] = [];
  await using links = openClusterLinks({ address: cluster.address, waits: true, passingMs: 0 });
  const redis = links.client(keys.queue);
  await redis.ping();
  await using wake = createClusterWake({
    address: cluster.address,
    links,
    redisOf: () => redis,
    onWake: (queue) => void woken.push(queue),
    log: pino({ enabled: false }),
    pollMs: 100,
  });
  const armed = (): Promise<void> =>
    eventually(async () => expect(await wake.arm(keys)).toEqual({ waiting: 0, delayed: 0 }));
  await armed();
  const before = links.ownerOf(keys.queue);
  const { port } = await cluster.moveSlot(keys.queue);
  expect(port).not.toBe(before?.port);
  await eventually(() => expect(links.ownerOf(keys.queue)?.port).toBe(port));
  woken.length = 0;
  await armed();
  await (await cluster.clientOf(keys.queue)).lpush(keys.queue, 'a');
  await eventually(() => expect(woken).toContain(keys.queue));
});

test('a worker of both queues is one worker: it is drained in both', async () => {
  const queues = await twoQueues();
  await using worker = startWorker(cluster, queues[0], {
    queue: queues.map(({ queue }) => queue),
    handler: () => 'done',
  });
  await worker.ready();
  await using sampling = sample(cluster.address);
  const { sampler } = sampling;
  sampler.add('p', queues);
  await known(sampler, 'p', { workers: 1 });
  const drains = drainsOf(sampler.redisOf, queues);
  const marked = await drains.set(new Map([[worker.id, 'leave']]));
  await drains.endWaits(marked.values());
  await eventually(async () => expect((await drains.read([], [])).get(worker.id)?.state).toBe('drained'));
});

test('a single server that is named as a cluster, and the reverse, are reported in words', async () => {
  await using single = await startRedis();
  const keys = freshKeys();
  await using wrong = sample({ cluster: { nodes: [`${single.host}:${single.port}`] } });
  wrong.sampler.add('p', [keys]);
  await eventually(() =>
    expect(wrong.sampler.latest('p')).toMatchObject({
      kind: 'unknown',
      reason: 'Unreachable',
      why: expect.stringMatching(/is no node of a Redis Cluster: give its URL instead/),
    }),
  );
  const [node] = cluster.servers;
  await using reverse = sample({ url: node?.url });
  const [first, second] = await twoQueues();
  for (const [i, one] of [first, second].entries()) reverse.sampler.add(`p${i}`, [one]);
  // the keys of another library are in several slots
  reverse.sampler.add('other', [keys], sourceOf({ bullmq: { queues: ['mail'], prefix: 'bull' } }));
  const named = expect.objectContaining({
    kind: 'unknown',
    why: expect.stringMatching(/is a node of a Redis Cluster, which must be named as one/),
  }) as unknown;
  await eventually(() => {
    expect([0, 1].map((i) => reverse.sampler.latest(`p${i}`))).toContainEqual(named);
    expect(reverse.sampler.latest('other')).toEqual(named);
  });
});

test('what refuses CLUSTER SLOTS, and a database of a cluster, are reported with what to do', async () => {
  for (const server of cluster.servers)
    await server.client().call('ACL', 'SETUSER', 'app', 'on', '>secret', '~*', '&*', '+@all', '-cluster');
  // as a proxy that looks like one server
  await using proxy = await startRedis({ args: ['--rename-command', 'CLUSTER', ''] });
  const [node] = cluster.servers;
  const rows: [RedisAddress, RegExp][] = [
    [
      { ...cluster.address, username: 'app', password: 'secret' },
      /cluster node 127\.0\.0\.1:\d+ refuses CLUSTER SLOTS to this user: allow it with \+cluster\|slots/,
    ],
    [
      { cluster: { nodes: [`${proxy.host}:${proxy.port}`] } },
      /does not execute CLUSTER SLOTS: give the nodes themselves, or, if it is a proxy/,
    ],
    [{ url: `${node?.url}/1` }, /has no database 1/],
  ];
  for (const [address, why] of rows) {
    await using sampling = sample(address);
    sampling.sampler.add('p', [freshKeys()]);
    await unknown(sampling.sampler, 'Unreachable', why);
  }
});

test('a node that is gone is named, is no question of TLS, and is read again when it is back', async () => {
  const [keys] = await twoQueues();
  const owner = await cluster.ownerOf(keys.queue);
  await using sampling = sample(cluster.address, { pollMs: 200 });
  const { sampler, seen } = sampling;
  sampler.add('p', [keys]);
  await known(sampler, 'p', { waiting: 0 });
  await owner.kill();
  await unknown(
    sampler,
    'Unreachable',
    new RegExp(`cluster node 127\\.0\\.0\\.1:${owner.port} refuses connections: is it running`),
  );
  await owner.start();
  await known(sampler, 'p', { waiting: 0 });
  const reasons = seen.flatMap(({ sampled }) => (sampled.kind === 'unknown' ? sampled.why : []));
  expect(reasons.filter((why) => why.includes('TLS'))).toEqual([]);
});

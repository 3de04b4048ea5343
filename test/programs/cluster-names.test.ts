/**
 * A Redis Cluster with TLS whose nodes are known by host names, with certificates for these alone, and users with passwords; connected
 * to directly, and from where each node has a way of its own, as by a port-forward.
 */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { reachBy, type FindWay } from '../../cli/access/reach.ts';
import { locationOf } from '../../queue/location.ts';
import { openQueue } from '../../queue/queue.ts';
import { startCluster, type RedisCluster } from '../support/cluster.ts';
import { eventually } from '../support/eventually.ts';
import { known, sample, unknown } from '../support/sampling.ts';
import { startTcpProxy } from '../support/tcpproxy.ts';
import { freshKeys } from '../support/turns.ts';
import { startWorker } from '../support/workers.ts';

let cluster: RedisCluster;
beforeAll(async () => {
  cluster = await startCluster({ names: true });
});
afterAll(() => cluster[Symbol.asyncDispose]());

test('worker, library and sampler connect by the names that the nodes announce', async () => {
  const keys = freshKeys();
  await using worker = startWorker(cluster, keys, { handler: (task) => `done ${String(task)}` });
  await worker.ready();
  await using sampling = sample(cluster.address);
  sampling.sampler.add('p', [locationOf(cluster.address, keys).keys]);
  await known(sampling.sampler, 'p', { workers: 1 });
  await eventually(() => expect(sampling.sampler.wakeMode).toBe('Tracking'));
  await using queue = openQueue({ redis: cluster.address, queue: keys.queue, result: keys.result });
  expect(await queue.result(await queue.enqueue('a'))).toBe('done a');
});

test('a wrong password, and a foreign authority, are reported as such', async () => {
  const keys = freshKeys();
  await using wrong = sample({ ...cluster.address, password: 'wrong' });
  wrong.sampler.add('p', [keys]);
  await unknown(wrong.sampler, 'Unreachable', /cluster node localhost:\d+ refuses the user name or password/);
  await using foreign = sample({ ...cluster.address, tls: {} });
  foreign.sampler.add('p', [keys]);
  await unknown(
    foreign.sampler,
    'Unreachable',
    /cluster node localhost:\d+ and the client do not agree on TLS/,
  );
});

test('each node is reached by a way of its own; one that has none is named, with what to do', async () => {
  const keys = freshKeys();
  await using stack = new AsyncDisposableStack();
  const ways = new Map<string, number>();
  for (const { port } of cluster.servers)
    ways.set(`localhost:${port}`, stack.use(await startTcpProxy(port)).port);
  const asked: string[] = [];
  const way: FindWay = (host, port) => {
    asked.push(`${host}:${port}`);
    const to = ways.get(`${host}:${port}`);
    return Promise.resolve(
      to === undefined
        ? { host, port, forward: undefined }
        : { host: '127.0.0.1', port: to, forward: undefined, namespace: 'redis' },
    );
  };
  const { address } = await reachBy(way, cluster.address);
  {
    await using queue = openQueue({ redis: address, queue: keys.queue, result: keys.result });
    await queue.enqueue('a');
    expect(await queue.inspect()).toMatchObject({ waiting: 1 });
  }
  expect(new Set(asked).size).toBe(asked.length);

  const owner = await cluster.ownerOf(keys.queue);
  ways.delete(`localhost:${owner.port}`);
  const { address: partly } = await reachBy(way, {
    ...cluster.address,
    cluster: { nodes: [[...ways.keys()][0] ?? ''] },
  });
  await using sampling = sample(partly);
  sampling.sampler.add('p', [keys]);
  await unknown(
    sampling.sampler,
    'Unreachable',
    /is no pod or Service that can be found from here: .* announce/,
  );
});

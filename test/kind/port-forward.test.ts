/**
 * The command line from outside of the cluster with pools whose Redis is found through sentinels, or is a Redis Cluster: what they
 * announce are addresses of pods, which this machine cannot reach, so each is reached through a port-forward of its own.
 */
import calculateSlot from 'cluster-key-slot';
import { beforeAll, describe, expect, inject, test } from 'vitest';
import { eventually } from '../support/eventually.ts';
import { REDIS_IMAGE } from '../support/kind-images.ts';
import { poolOf, type Pool } from '../support/kind-pool.ts';
import { useRelease, type Release } from '../support/kind-release.ts';
import { millrace, type Ended } from '../support/millrace.ts';
import { squaresTemplate } from '../support/squares.ts';

const place = inject('cluster');
const NODES = 3;
const PORT = 6_379;
const SENTINEL_PORT = 26_379;

/** Pods `name-0`, `name-1` … that run a shell script, with names in DNS. */
function podsOf(namespace: string, name: string, replicas: number, script: string): object[] {
  const metadata = { name, namespace };
  const labels = { app: name };
  const env = [{ name: 'IP', valueFrom: { fieldRef: { fieldPath: 'status.podIP' } } }];
  const command = ['sh', '-euc', script];
  const containers = [{ name: 'redis', image: REDIS_IMAGE, command, env }];
  const ports = [PORT, SENTINEL_PORT].map((port) => ({ name: `p${port}`, port }));
  return [
    {
      apiVersion: 'v1',
      kind: 'Service',
      metadata,
      spec: { clusterIP: 'None', publishNotReadyAddresses: true, selector: labels, ports },
    },
    {
      apiVersion: 'apps/v1',
      kind: 'StatefulSet',
      metadata,
      spec: {
        replicas,
        serviceName: name,
        podManagementPolicy: 'Parallel',
        selector: { matchLabels: labels },
        template: { metadata: { labels }, spec: { terminationGracePeriodSeconds: 1, containers } },
      },
    },
  ];
}

const server = 'redis-server --protected-mode no --save ""';

/** A primary and its replica; what a starved node delays is not to count as down. */
const behindSentinels = (namespace: string): object[] => [
  ...podsOf(
    namespace,
    'redis',
    2,
    `case $HOSTNAME in redis-0) exec ${server};; esac
     exec ${server} --replicaof redis-0.redis ${PORT}`,
  ),
  ...podsOf(
    namespace,
    'sentinel',
    NODES,
    `until getent hosts redis-0.redis; do sleep 0.2; done
     printf '%s\\n' 'port ${SENTINEL_PORT}' 'sentinel resolve-hostnames yes' 'sentinel monitor main redis-0.redis ${PORT} 2' \\
       'sentinel down-after-milliseconds main 600000' >/tmp/sentinel.conf
     exec redis-server /tmp/sentinel.conf --protected-mode no --sentinel`,
  ),
];

const clusterNodes = (namespace: string): object[] =>
  podsOf(
    namespace,
    'node',
    NODES,
    `exec ${server} --cluster-enabled yes --cluster-node-timeout 600000 --cluster-announce-ip "$IP"`,
  );

const nodeNames = Array.from({ length: NODES }, (_, i) => `node-${i}`);
const sentinels = Array.from({ length: NODES }, (_, i) => `sentinel-${i}.sentinel:${SENTINEL_PORT}`);

/** A queue for each primary, by the even shares that `redis-cli --cluster create` gives them. */
const queues = Array.from({ length: NODES }, (_, i) => {
  const first = Math.round((i * 16_384) / NODES);
  const names = Array.from({ length: 1_000 }, (_x, n) => `tiles-${n}`);
  return names.find((name) => calculateSlot(name) > first + 100 && calculateSlot(name) < first + 5_000) ?? '';
});

describe.skipIf(!place)('the command line from outside of the cluster', () => {
  const release = useRelease(place, { values: () => ({}), redis: 'own' });

  const run = (...args: string[]): Promise<Ended> =>
    millrace([...args, '--namespace', release().namespace], { env: release().cluster.env });

  /** Enqueues a task and waits for its result, which a worker in the cluster writes. */
  async function expectSquare(pool: Pool, n: number, ...more: string[]): Promise<void> {
    const task = JSON.stringify({ id: `square-${n}`, n, ms: 5 });
    const done = await run('enqueue', task, '--pool', pool.name, '--wait', ...more);
    expect(done).toMatchObject({ code: 0, stderr: '' });
    expect(JSON.parse(done.stdout)).toMatchObject({ square: n * n });
  }

  beforeAll(async () => {
    const { cluster, namespace } = release();
    const items = [...behindSentinels(namespace), ...clusterNodes(namespace)];
    await cluster.applyYaml(JSON.stringify({ apiVersion: 'v1', kind: 'List', items }));
    for (const name of ['redis', 'sentinel', 'node'])
      await cluster.kubectl([
        'rollout',
        'status',
        `statefulset/${name}`,
        '-n',
        namespace,
        '--timeout',
        '900s',
      ]);
  });

  test('reaches the primary that sentinels name', async () => {
    const { namespace } = release();
    const ask = (i: number): Promise<string> =>
      inPod(release(), `sentinel-${i}`, 'redis-cli', '-p', `${SENTINEL_PORT}`, 'SENTINEL', 'master', 'main');
    await eventually(async () => {
      for (let i = 0; i < NODES; i++) expect(await ask(i)).toMatch(/num-slaves\n1\nnum-other-sentinels\n2\n/);
    });
    const pool = poolOf(release(), 'sentinels');
    await pool.apply({
      redis: {
        sentinel: { name: 'main', nodes: sentinels.map((node) => node.replace(':', `.${namespace}:`)) },
      },
      template: squaresTemplate(),
    });
    await expectSquare(pool, 12);
    expect((await run('inspect', pool.name)).stdout).toMatch(/\nsentinels:queue +0 /);
    // each of them is asked, too
    await eventually(async () =>
      expect((await run('doctor', pool.name)).stdout).toMatch(
        /^ok +sentinels: 3 of 3 answer; primary \S+, replicas: 1$/m,
      ),
    );
  });

  test('reaches each primary of a Redis Cluster', async () => {
    const { cluster, namespace } = release();
    const list = ['get', 'pods', ...nodeNames, '-n', namespace, '-o', 'jsonpath={.items[*].status.podIP}'];
    const addresses = (await cluster.kubectl(list)).split(' ').map((ip) => `${ip}:${PORT}`);
    await inPod(release(), 'node-0', 'redis-cli', '--cluster', 'create', ...addresses, '--cluster-yes');
    for (const node of nodeNames)
      await eventually(async () =>
        expect(await inPod(release(), node, 'redis-cli', 'CLUSTER', 'INFO')).toContain('cluster_state:ok'),
      );
    const pool = poolOf(release(), 'clustered');
    await pool.apply({
      redis: { cluster: { nodes: [`node-0.node.${namespace}:${PORT}`] } },
      queues,
      template: squaresTemplate(),
    });
    for (const [i, queue] of queues.entries()) await expectSquare(pool, i, '--queue', queue);
    const { stdout } = await run('inspect', pool.name);
    for (const queue of queues) expect(stdout).toMatch(new RegExp(`^${queue} +0 `, 'm'));
    // each of them is indeed on a primary of its own
    const slots = await Promise.all(
      nodeNames.map((node) => inPod(release(), node, 'redis-cli', '--scan', '--pattern', 'millrace:*')),
    );
    for (const queue of queues)
      expect(slots.filter((keys) => keys.includes(`millrace:{${queue}}`))).toHaveLength(1);
    expect(slots.every((keys) => keys.includes('millrace:{'))).toBe(true);
    await eventually(async () => expect((await run('doctor', pool.name)).stdout).toMatch(/^ok .*cluster/im));
  });
});

const inPod = ({ cluster, namespace }: Release, pod: string, ...command: string[]): Promise<string> =>
  cluster.kubectl(['exec', pod, '--namespace', namespace, '--', ...command]);

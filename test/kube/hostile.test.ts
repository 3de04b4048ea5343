/**
 * One controller, honest pools, and tenants with an untrusted Redis: servers that reply anything, and values that anyone with
 * access to a queue can write. The controller survives within the chart's memory limit, each such pool reports its problem,
 * and the honest pools are scaled meanwhile.
 */
import { readFile } from 'node:fs/promises';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DEPLOYMENTS, POOLS } from '../../kube/resources.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { bundledController, startController, type ControllerProcess } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { fill, VALUES } from '../support/hostile-values.ts';
import { MESSAGES, REPLIES, startLyingRedis, type LyingRedis } from '../support/lying-redis.ts';
import { conditionText, poolManifest, startWorld, type World } from '../support/world.ts';

/** `resources.limits.memory` of the chart. */
const LIMIT = 256 * 1_048_576;
const HONEST = ['honest-1', 'honest-2', 'honest-3'];

let world: World;
let controller: ControllerProcess;
let redis: Redis;
let servers: AsyncDisposableStack;
beforeAll(async () => {
  world = await startWorld();
  redis = world.redis.client();
  servers = new AsyncDisposableStack();
  // as in its image
  const program = await bundledController();
  controller = await startController({
    kubeconfig: world.server.kubeconfig,
    args: ['--dashboard', '--dashboard-auth', 'none'],
    program,
  });
  await controller.leading();
  const scaling = { tasksPerReplica: 1, maxReplicas: 100 };
  for (const name of HONEST)
    await world.objects.create(POOLS, 'default', poolManifest(name, world.redis, { scaling }));
});
afterAll(async () => {
  await controller?.[Symbol.asyncDispose]();
  await servers?.disposeAsync();
  await world?.[Symbol.asyncDispose]();
});

/** One more task for each honest pool: one more replica. */
async function expectHonestPoolsToScale(): Promise<void> {
  const before = await Promise.all(HONEST.map((name) => redis.llen(name)));
  for (const name of HONEST) await redis.lpush(name, 'task');
  await eventually(
    async () => {
      const found = HONEST.map((name) => world.objects.get(DEPLOYMENTS, { namespace: 'default', name }));
      const replicas = (await Promise.all(found)).map(({ spec }) => spec?.replicas);
      expect(replicas).toEqual(before.map((tasks) => tasks + 1));
    },
    { withinMs: 60_000 },
  );
}

async function expectWell(): Promise<void> {
  await expectHonestPoolsToScale();
  expect((await controller.get('/healthz')).status).toBe(200);
  const status = await readFile(`/proc/${controller.pid}/status`, 'utf8');
  const mostKiB = Number(/^VmHWM:\s+(\d+) kB$/m.exec(status)?.[1]);
  expect(mostKiB * 1_024).toBeLessThan(LIMIT);
}

async function pools(namespace: string): Promise<Map<string, WorkerPool>> {
  const all = await world.objects.list(POOLS, namespace);
  return new Map(all.map((pool) => [pool.metadata.name, pool]));
}

const lyingPools = async <T>(
  namespace: string,
  table: Readonly<Record<string, T>>,
  lie: (server: LyingRedis, row: T) => void,
): Promise<{ name: string; row: T; server: LyingRedis }[]> => {
  const all: { name: string; row: T; server: LyingRedis }[] = [];
  for (const [i, row] of Object.values(table).entries()) {
    const server = servers.use(await startLyingRedis());
    lie(server, row);
    const name = `lie-${i}`;
    await world.objects.create(POOLS, namespace, poolManifest(name, server.address));
    all.push({ name, row, server });
  }
  return all;
};

test('servers that reply anything to a read of a queue', async () => {
  const namespace = await world.namespace();
  const rows = await lyingPools(namespace, REPLIES, (server, lie) => server.tell({ eval: lie }));
  await eventually(
    async () => {
      const found = await pools(namespace);
      for (const { name, row } of rows) {
        const pool = found.get(name);
        const said = pool && conditionText(pool, 'RedisReachable');
        if (row.refused === 'TooLarge')
          expect(said, name).toMatch(/^False ReplyTooLarge Redis at .* was cut off: /);
        else expect(said, name).toMatch(/^False (UnexpectedReply|Unreachable|WrongKeyType) /);
        expect(JSON.stringify(pool?.status).length, name).toBeLessThan(10_000);
      }
    },
    { withinMs: 60_000 },
  );
  await expectWell();
});

test('to the first commands of a connection', async () => {
  const namespace = await world.namespace();
  const rows = await lyingPools(namespace, REPLIES, (server, lie) => server.tell({ info: lie, client: lie }));
  await eventually(() => {
    for (const { server, name } of rows) expect(server.asked('info'), name).toBeGreaterThan(0);
  });
  await expectWell();
});

test('messages that are none', async () => {
  const namespace = await world.namespace();
  const rows = await lyingPools(namespace, MESSAGES, () => {});
  await eventually(() => {
    for (const { server, name } of rows) expect(server.asked('subscribe'), name).toBeGreaterThan(0);
  });
  for (const { server, row } of rows) server.publish(row);
  await expectWell();
  // and they are listened to again
  await eventually(
    async () => {
      for (const [name, { status }] of await pools(namespace)) expect(status?.wake, name).toBe('Tracking');
    },
    { withinMs: 60_000 },
  );
});

test('a server that never answers, and one that floods', async () => {
  const namespace = await world.namespace();
  const message = '*3\r\n$7\r\nmessage\r\n$20\r\n__redis__:invalidate\r\n*1\r\n$1\r\nq\r\n';
  const table = {
    silent: { bytes: '' },
    half: { bytes: '*19\r\n:1\r\n' },
    flood: { forever: message.repeat(1_000) },
  };
  await lyingPools(namespace, table, (server, lie) =>
    server.tell('forever' in lie ? { ping: lie } : { eval: lie }),
  );
  await expectWell();
  await expectWell();
});

test('values that anybody can write beside a queue', { timeout: 1_200_000 }, async () => {
  const namespace = await world.namespace();
  for (const name of Object.keys(VALUES)) await fill(redis, namespace, name);
  for (const name of Object.keys(VALUES)) {
    const scaling = { tasksPerReplica: 1, targetWait: '5s' };
    await world.objects.create(POOLS, namespace, poolManifest(name, world.redis, { scaling }));
  }
  await eventually(
    async () => {
      const found = await pools(namespace);
      for (const name of Object.keys(VALUES)) {
        const pool = found.get(name);
        const reached = pool && conditionText(pool, 'RedisReachable');
        const refused = /^(worker-long|.*-wrong-type)/.test(name);
        expect(reached, name).toMatch(refused ? /^False / : /^True Sampled/);
      }
    },
    { withinMs: 90_000 },
  );
  await expectWell();
  // as whoever opens the dashboard does
  for (const name of Object.keys(VALUES)) {
    const page = await controller.get(`/dashboard/api/pools/${namespace}/${name}`);
    expect(page.status, name).toBe(200);
    expect(page.body.length, name).toBeLessThan(200_000);
  }
  await expectWell();
});

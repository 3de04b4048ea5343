/** `millrace` against a cluster: finding a pool and its Redis, and one line for each obstacle. */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ENDPOINT_SLICES, PODS, POOLS, SECRETS, SERVICES } from '../../kube/resources.ts';
import { millrace, type Ended } from '../support/millrace.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { rightIs } from '../support/rights.ts';
import { poolManifest, startWorld, type World } from '../support/world.ts';

let world: World;
let locked: RedisServer;
let namespace: string;
beforeAll(async () => {
  world = await startWorld();
  locked = await startRedis({ password: 'open sesame', tls: 'server' });
  namespace = await world.namespace();
  const { objects, redis } = world;
  const create = (name: string, spec: object): Promise<unknown> =>
    objects.create(POOLS, namespace, poolManifest(name, redis, { ...spec }));
  await create('tiles', {});
  await create('ranks', { queues: ['urgent', 'bulk'] });
  await create('parts', { partitions: 3 });
  await create('behind', { redis: { url: 'redis://redis' } });
  await create('nowhere', { redis: { url: `redis://gone.${namespace}.svc` } });
  const secretKeyRef = (key: string): object => ({ secretKeyRef: { name: 'redis', key } });
  const tls = { caFrom: secretKeyRef('ca') };
  const { url } = locked;
  await create('locked', { redis: { url, passwordFrom: secretKeyRef('password'), tls } });
  const secret = { password: 'open sesame', ca: locked.address.tls?.ca };
  await objects.create(SECRETS, namespace, { metadata: { name: 'redis' }, stringData: secret });
});
afterAll(async () => {
  await locked?.[Symbol.asyncDispose]();
  await world?.[Symbol.asyncDispose]();
});

function run(args: readonly string[], kubeconfig = world.server.kubeconfig): Promise<Ended> {
  return millrace([...args, '--namespace', namespace], { env: { KUBECONFIG: kubeconfig } });
}

test('a pool gives the address of its queue, as an argument and as a flag', async () => {
  const pushed = await run(['enqueue', '{"id":"a"}', '--pool', 'tiles']);
  expect(pushed).toEqual({ code: 0, stdout: 'a\n', stderr: '' });
  expect(await world.redis.client().lrange('tiles', 0, -1)).toEqual(['{"id":"a"}']);
  const looked = await run(['inspect', 'tiles']);
  expect(looked.stdout).toMatch(/^QUEUE +WAITING.*\ntiles +1 /);
  const full = await millrace(['inspect', `${namespace}/tiles`, '-o', 'yaml'], {
    env: { KUBECONFIG: world.server.kubeconfig, MILLRACE_REDIS_URL: 'redis://nowhere.invalid' },
  });
  expect(full.stdout).toMatch(/^queue: tiles\nnow: \d+\nwaiting: 1\n/);
  await world.redis.client().hset('tiles:result', 'a', 'done');
  expect((await run(['result', 'a', '--pool', 'tiles'])).stdout).toBe('done');
});

test('of several queues: the first to push to, the one that is named, or all', async () => {
  const redis = world.redis.client();
  await Promise.all([
    run(['enqueue', 'now', '--pool', 'ranks']),
    run(['enqueue', 'later', '--pool', 'ranks', '--queue', 'bulk']),
  ]);
  expect([await redis.lrange('urgent', 0, -1), await redis.lrange('bulk', 0, -1)]).toEqual([
    ['now'],
    ['later'],
  ]);
  expect((await run(['pause', 'ranks'])).stdout).toBe('urgent is paused\nbulk is paused\n');
  expect((await run(['resume', 'ranks', '--queue', 'bulk'])).stdout).toBe('bulk is resumed\n');
  const views = JSON.parse((await run(['inspect', 'ranks', '-o', 'json'])).stdout) as object[];
  expect(views).toMatchObject([
    { queue: 'urgent', paused: true },
    { queue: 'bulk', paused: false },
  ]);
  const bury = (queue: string, at: number, error: string): Promise<unknown> =>
    redis.lpush(
      `millrace:{${queue}}:dead`,
      `${at} ${JSON.stringify({ attempts: 1, worker: 'w', error })}\n${error}`,
    );
  await bury('bulk', Date.now() - 5_000, 'old');
  await bury('urgent', Date.now(), 'new');
  const dead = await run(['dead', 'list', 'ranks']);
  expect(dead.stdout).toMatch(/^WHEN +QUEUE .*\n\S+ +urgent .*new\n\S+ +bulk .*old\n$/);
  expect((await run(['dead', 'requeue', '--all', '--pool', 'ranks'])).stdout).toBe('2 requeued\n');
  await redis.hset('millrace:{bulk}:errors', 'failed', 'it cannot be done');
  const failed = await run(['result', 'failed', '--pool', 'ranks']);
  expect(failed.stderr).toBe('millrace: task failed failed for good: it cannot be done\n');
});

test('of partitions: the pool knows its number; --partitions names those that it no longer serves', async () => {
  const redis = world.redis.client();
  expect((await run(['enqueue', '{"id":"b"}', '--pool', 'parts'])).stdout).toBe('b\n');
  expect(await redis.lrange('parts:{2}', 0, -1)).toEqual(['{"id":"b"}']);
  // nothing shows yet whether tasks are left in the plain list
  await redis.lpush('parts', 'plain');
  await redis.lpush('parts:{4}', 'left');
  const [whole, each, left] = await Promise.all([
    run(['inspect', 'parts', '-o', 'json']),
    run(['inspect', 'parts', '--each']),
    run(['inspect', 'parts', '--partitions', '5', '-o', 'json']),
  ]);
  expect(JSON.parse(whole.stdout)).toMatchObject({ queue: 'parts', waiting: 2 });
  expect(each.stdout).toMatch(
    /^QUEUE .*\nparts +1 .*\nparts:\{0\} +0 .*\nparts:\{1\} +0 .*\nparts:\{2\} +1 .*\n$/,
  );
  expect(JSON.parse(left.stdout)).toMatchObject({ queue: 'parts', waiting: 2 });
});

test("a pool's records are found next to its first queue, for any of its queues", async () => {
  const numbers = { current: 0, ready: 0, bounds: { minReplicas: 0, maxReplicas: 9 } };
  const rest = { desired: 2, cause: 'ScaleUp', reason: '0→2: 7 waiting', numbers };
  const record = JSON.stringify({ at: Date.now(), confirmedAt: Date.now(), from: 0, to: 2, ...rest });
  await world.redis.client().lpush(`millrace:{urgent}:decisions:${namespace}/ranks`, record);
  for (const args of [['ranks'], ['ranks', '--queue', 'bulk']]) {
    const { stdout } = await run(['explain', ...args]);
    expect(stdout).toContain(`${namespace}/ranks: 0→2 (ScaleUp), `);
    expect(stdout).toMatch(/^ {2}Bounds +minReplicas 0, maxReplicas 9$/m);
  }
  expect((await run(['explain', 'tiles'])).stdout).toMatch(/^No decision is recorded for \S+\/tiles yet: /);
});

test('password and authority come from Secrets; without the right to read them, the error has the remedy', async () => {
  expect((await run(['enqueue', 'x', '--pool', 'locked'])).stdout).toBe('x\n');
  const { server } = world;
  const user = ['--namespace', namespace, 'serviceaccount', 'guest'];
  await server.kubectl(['create', ...user]);
  const role = [
    'create',
    'role',
    'looks',
    '-n',
    namespace,
    '--verb=get',
    '--resource=workerpools.millrace.dev',
  ];
  await server.kubectl(role);
  const binding = ['create', 'rolebinding', 'looks', '-n', namespace, '--role=looks'];
  await server.kubectl([...binding, `--serviceaccount=${namespace}:guest`]);
  const token = (await server.kubectl(['create', 'token', 'guest', '-n', namespace])).trim();
  const guest = join(world.redis.dir, 'guest-kubeconfig');
  await writeFile(guest, kubeconfigOf(server.server, server.caData, token));
  const may = { verb: 'get', namespace, group: 'millrace.dev', resource: 'workerpools' };
  const name = `system:serviceaccount:${namespace}:guest`;
  await rightIs(world.transport, name, may, true);
  expect((await run(['inspect', 'tiles'], guest)).code).toBe(0);
  const refused = await run(['inspect', 'locked'], guest);
  expect(refused).toMatchObject({ code: 1, stdout: '' });
  expect(refused.stderr).toMatch(
    /^millrace: the address of pool test-\d+\/locked is in a Secret that you may not read [^\n]*or give --redis[^\n]*\n$/,
  );
  await server.kubectl(['delete', 'rolebinding', 'looks', '-n', namespace]);
  await rightIs(world.transport, name, may, false);
  expect((await run(['inspect', 'tiles'], guest)).stderr).toMatch(/403 Forbidden/);
});

test('a Service is looked up, and a failed port-forward reports why', async () => {
  const { objects } = world;
  const service = { metadata: { name: 'redis' }, spec: { ports: [{ port: 6379, targetPort: 6400 }] } };
  await objects.create(SERVICES, namespace, service);
  const nobody = await run(['inspect', 'behind']);
  expect(nobody.stderr).toMatch(/^millrace: no ready pod is behind port 6379 of Service "redis" [^\n]+\n$/);
  await objects.create(PODS, namespace, {
    metadata: { name: 'redis-0' },
    spec: { containers: [{ name: 'redis', image: 'redis:7' }] },
  });
  await objects.create(ENDPOINT_SLICES, namespace, {
    metadata: { name: 'redis-a', labels: { 'kubernetes.io/service-name': 'redis' } },
    addressType: 'IPv4',
    ports: [{ port: 6400, protocol: 'TCP' }],
    endpoints: [{ addresses: ['10.1.2.3'], targetRef: { kind: 'Pod', name: 'redis-0', namespace } }],
  });
  const forwarded = await run(['inspect', 'behind']);
  expect(forwarded.code).toBe(1);
  expect(forwarded.stderr).toMatch(/^millrace: the port-forward to pod test-\d+\/redis-0 failed: [^\n]+\n$/);
  const gone = await run(['inspect', 'nowhere']);
  expect(gone.stderr).toMatch(/^millrace: there is no Service "gone" in namespace "test-\d+" for gone\./);
});

describe('what cannot be', () => {
  const wrong: [args: string[], code: number, says: RegExp][] = [
    [['inspect', 'other'], 1, /there is no pool "other" in namespace "test-\d+": see millrace pools/],
    [['inspect', 'a/b/c'], 2, /"a\/b\/c" names no pool/],
    [['inspect', 'tiles', '--pool', 'ranks'], 2, /choose one/],
    [['inspect', 'tiles', '--redis', 'redis://x'], 2, /both a pool and --redis/],
    [['inspect', 'ranks', '--queue', 'normal'], 2, /has no queue "normal": it has urgent, bulk/],
    [['inspect'], 2, /--namespace is for a pool/],
    [['inspect', 'tiles', '--context', 'other'], 1, /has no context "other": it has test/],
    [['inspect', 'tiles', '--kubeconfig', '/nowhere'], 1, /\/nowhere cannot be read: ENOENT/],
  ];
  test.concurrent.each(wrong)('millrace %j', async (args, code, says) => {
    const ended = await run(args);
    expect(ended).toEqual({ code, stdout: '', stderr: expect.stringMatching(says) as unknown });
    expect(ended.stderr).toMatch(/^millrace: [^\n]+\n$/);
  });

  test('no kubeconfig at all, and a cluster that is away', async () => {
    const none = await millrace(['inspect', 'tiles'], { env: { HOME: '/nowhere' } });
    expect(none.stderr).toBe('millrace: there is no kubeconfig: set KUBECONFIG or give --kubeconfig\n');
    const away = join(world.redis.dir, 'away-kubeconfig');
    await writeFile(away, kubeconfigOf('https://127.0.0.1:1', world.server.caData, 'x'));
    expect((await run(['inspect', 'tiles'], away)).stderr).toMatch(
      /^millrace: the cluster is unreachable \(/,
    );
  });
});

function kubeconfigOf(server: string, caData: string, token: string): string {
  return JSON.stringify({
    clusters: [{ name: 'test', cluster: { server, 'certificate-authority-data': caData } }],
    users: [{ name: 'user', user: { token } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'user' } }],
    'current-context': 'test',
  });
}

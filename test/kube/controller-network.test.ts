/** An API server that freezes, connections that break: no change is missed, and nothing is scaled wrongly meanwhile. */
import { writeFile } from 'node:fs/promises';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DEPLOYMENTS, POOLS } from '../../kube/resources.ts';
import { LogEvent } from '../../runtime/log-event.ts';
import { metric, startController, type ControllerProcess } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { startTcpProxy, type TcpProxy } from '../support/tcpproxy.ts';
import { poolManifest, startWorld, type World } from '../support/world.ts';

const bounded = { everyMs: 50 };

let world: World;
let redis: Redis;
let proxy: TcpProxy;
let controller: ControllerProcess;
let namespace: string;

beforeAll(async () => {
  world = await startWorld();
  redis = world.redis.client();
  namespace = await world.namespace();
  proxy = await startTcpProxy(Number(new URL(world.server.server).port));
  const cluster = {
    server: `https://127.0.0.1:${proxy.port}`,
    'certificate-authority-data': world.server.caData,
  };
  // JSON is YAML
  const config = {
    apiVersion: 'v1',
    kind: 'Config',
    clusters: [{ name: 'test', cluster }],
    users: [{ name: 'admin', user: { token: world.server.token } }],
    contexts: [{ name: 'test', context: { cluster: 'test', user: 'admin' } }],
    'current-context': 'test',
  };
  const kubeconfig = `${world.server.kubeconfig}.proxied`;
  await writeFile(kubeconfig, JSON.stringify(config), { mode: 0o600 });
  controller = await startController({ kubeconfig, args: ['--leader-election'] });
  await controller.leading();
});
afterAll(async () => {
  await controller?.[Symbol.asyncDispose]();
  await proxy?.[Symbol.asyncDispose]();
  await world?.[Symbol.asyncDispose]();
});

const scaling = { tasksPerReplica: 1, scaleDown: { window: '0s' } };
const create = (name: string): Promise<unknown> =>
  world.objects.create(POOLS, namespace, poolManifest(name, world.redis, { scaling }));

async function facts(name: string): Promise<unknown> {
  const { spec } = await world.objects.get(DEPLOYMENTS, { namespace, name });
  return [spec?.replicas, spec?.template.spec?.containers[0]?.image];
}

test('connections that break again and again: no pool, edit or deletion is missed', async () => {
  const names = Array.from({ length: 12 }, (_, i) => `cut-${i}`);
  for (const name of names) {
    await create(name);
    proxy.cut();
  }
  for (const name of names)
    await eventually(async () => expect(await facts(name)).toEqual([0, 'worker:1']), bounded);

  const template = { spec: { containers: [{ name: 'worker', image: 'worker:2' }] } };
  for (const [i, name] of names.entries()) {
    if (i % 3 === 0) proxy.cut();
    await redis.lpush(name, 'a', 'b');
    await world.objects.patch(POOLS, { namespace, name }, { spec: { template } });
    // somebody interferes while nobody may be watching
    const replicas = { spec: { replicas: 9 } };
    await world.objects.patch(DEPLOYMENTS, { namespace, name }, replicas);
  }
  for (const name of names)
    await eventually(async () => expect(await facts(name)).toEqual([2, 'worker:2']), bounded);

  proxy.cut();
  await Promise.all(names.map((name) => world.objects.remove(POOLS, { namespace, name })));
  proxy.cut();
  await eventually(async () => {
    const deployments = await world.objects.list(DEPLOYMENTS, namespace);
    expect(deployments.filter(({ metadata }) => metadata.deletionTimestamp === undefined)).toEqual([]);
  }, bounded);
  for (const name of names)
    await world.objects.patch(DEPLOYMENTS, { namespace, name }, { metadata: { finalizers: null } });
  await eventually(async () => expect(await world.objects.list(POOLS, namespace)).toEqual([]), bounded);
  const page = (await controller.get('/metrics')).body;
  expect(metric(page, 'millrace_watch_restarts{resource="workerpools"}')).toBeGreaterThan(0);
  expect(metric(page, 'millrace_leader')).toBe(1);
});

test('an API server that freezes: the leader steps down in time, leads again after it, and scales', async () => {
  await create('frozen');
  await eventually(async () => expect(await facts('frozen')).toEqual([0, 'worker:1']), bounded);
  const said = (what: string): number => controller.log().filter(({ event }) => event === what).length;
  const isScaled = ({ msg, pool }: Record<string, unknown>): boolean =>
    msg === 'scaled' && pool === `${namespace}/frozen`;
  // a machine that does much else may have let a renewal come too late before
  const leads = (): void => expect(said(LogEvent.Leading)).toBe(said(LogEvent.NotLeading) + 1);
  await eventually(leads, bounded);
  const before = said(LogEvent.NotLeading);
  world.server.freeze();
  try {
    await eventually(() => expect(said(LogEvent.NotLeading)).toBe(before + 1), bounded);
    // not before: a request that the frozen server has received is carried out when it thaws, whoever leads then
    await redis.lpush('frozen', 'a', 'b', 'c');
    expect((await controller.get('/healthz')).status).toBe(200);
    expect(metric((await controller.get('/metrics')).body, 'millrace_leader')).toBe(0);
  } finally {
    world.server.thaw();
  }
  await eventually(async () => expect(await facts('frozen')).toEqual([3, 'worker:1']), bounded);
  // logged after the API server has answered
  await eventually(() => expect(controller.log().filter(isScaled).length).toBeGreaterThan(0), bounded);
  const scaled = controller.log().filter(isScaled);
  expect(scaled.map(({ decision }) => String(decision).slice(0, 3))).toEqual(['0→3']);
  await eventually(leads, bounded);
});

test('asked to stop while the API server does not reply: it ends soon and cleanly', async () => {
  world.server.freeze();
  // it thaws only after that
  const ended = await controller.stop().finally(() => world.server.thaw());
  expect(ended).toEqual({ code: 0, signal: null });
});

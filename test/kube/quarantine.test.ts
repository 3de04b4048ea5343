/**
 * A pool at which the controller itself fails: it hangs, or its process dies. After the second time, that pool is skipped for
 * a while and reports it, and all others are served, whichever controller leads.
 */
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { pino } from 'pino';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { leftOutFor, parseMarks } from '../../controller/process/crash-backoff.ts';
import { openQuarantine, type Quarantine } from '../../controller/process/quarantine.ts';
import { createKubeApi } from '../../kube/client.ts';
import { DEPLOYMENTS, EVENTS, LEASES, POOLS } from '../../kube/resources.ts';
import { queueKeys } from '../../queue/keys.ts';
import { LogEvent } from '../../runtime/log-event.ts';
import { startController, type ControllerProcess } from '../support/controller.ts';
import { eventually } from '../support/eventually.ts';
import { startRedis, type RedisServer } from '../support/redis.ts';
import { conditionText, poolManifest, startWorld, type World } from '../support/world.ts';

const root = join(import.meta.dirname, '../..');
const program = ['--import', join(root, 'test/fixtures/trapped.ts'), join(root, 'controller/main.ts')];

let world: World;
beforeAll(async () => {
  world = await startWorld();
});
afterAll(async () => await world?.[Symbol.asyncDispose]());

/** A container: what its process is started with each time, and the folder that outlives it. */
interface Container {
  readonly folder: string;
  readonly args: readonly string[];
}

const start = ({ folder, args }: Container): Promise<ControllerProcess> =>
  startController({ kubeconfig: world.server.kubeconfig, args: ['--state-dir', folder, ...args], program });

const folder = (): ReturnType<typeof mkdtempDisposable> =>
  mkdtempDisposable(join(tmpdir(), 'millrace-state-'));

/** One pool with a trap, and others around it. */
async function createPools(namespace: string, trap: string, server: RedisServer): Promise<Redis> {
  const redis = server.client();
  const key = queueKeys('trapped', 'trapped:result').memory(`${namespace}/trapped`);
  await redis.set(key, `{"trap: ${trap}":1}`);
  const scaling = { tasksPerReplica: 1, targetWait: '10s' };
  for (const name of ['a', 'trapped', 'z'])
    await world.objects.create(POOLS, namespace, poolManifest(name, server, { scaling }));
  return redis;
}

async function expectOthersServed(namespace: string, redis: Redis): Promise<void> {
  for (const name of ['a', 'z']) await redis.lpush(name, 'task');
  await eventually(
    async () => {
      for (const name of ['a', 'z']) {
        const deployment = await world.objects.get(DEPLOYMENTS, { namespace, name });
        expect(deployment.spec?.replicas, name).toBe(1);
      }
    },
    { withinMs: 60_000 },
  );
}

async function expectLeftOut(namespace: string): Promise<void> {
  await eventually(
    async () => {
      const pool = await world.objects.get(POOLS, { namespace, name: 'trapped' });
      expect(conditionText(pool, 'Ready')).toMatch(
        /^False Quarantined The controller has crashed twice while it worked on this pool, so the pool is left out until /,
      );
      const events = await world.objects.list(EVENTS, namespace);
      const told = events.filter(({ reason }) => reason === 'Quarantined');
      expect(told.map(({ type, regarding }) => [type, regarding?.name])).toEqual([['Warning', 'trapped']]);
    },
    { withinMs: 60_000 },
  );
}

test.concurrent('it hangs: the watchdog ends the process, and logs the pool', async () => {
  await using place = await folder();
  await using server = await startRedis();
  const namespace = await world.namespace();
  const container = { folder: place.path, args: ['--namespace', namespace] };
  const redis = await createPools(namespace, 'hang', server);
  for (let life = 1; life <= 2; life++) {
    await using controller = await start(container);
    expect(await controller.ended).toEqual({ code: null, signal: 'SIGABRT' });
    const last = controller.log().at(-1);
    expect(last).toMatchObject({ level: 'fatal', pools: [`${namespace}/trapped`] });
    expect(last?.msg).toMatch(/has been blocked for 10 s/);
  }
  await using third = await start(container);
  await third.leading();
  await expectOthersServed(namespace, redis);
  await expectLeftOut(namespace);
  // told to stop, it leaves nothing that would count against a pool
  expect((await third.stop()).code).toBe(0);
  await using fourth = await start(container);
  await fourth.leading();
  expect(fourth.log().filter(({ event }) => event === LogEvent.Crashed)).toEqual([]);
});

test.concurrent('it is killed: a standby elsewhere learns of it, too', { timeout: 600_000 }, async () => {
  await using here = await folder();
  await using there = await folder();
  await using server = await startRedis();
  const namespace = await world.namespace();
  const args = ['--namespace', namespace, '--leader-election', '--lease-namespace', namespace];
  const [one, other] = [
    { folder: here.path, args },
    { folder: there.path, args },
  ] as const;
  const redis = await createPools(namespace, 'kill', server);
  const first = await start(one);
  expect((await first.ended).signal).toBe('SIGKILL');
  // its container starts again while nobody leads; the other one takes over and comes to the same end
  const second = await start(other);
  const ended = await second.ended;
  expect(ended.signal).toBe('SIGKILL');
  await using third = await start(other);
  await using fourth = await start(one);
  await eventually(
    async () => {
      const { metadata } = await world.objects.get(LEASES, { namespace, name: 'millrace-controller' });
      const marks = JSON.parse(metadata.annotations?.['millrace.dev/ended-at'] ?? '{}') as object;
      expect(Object.keys(marks)).toEqual([`${namespace}/trapped`]);
    },
    { withinMs: 60_000 },
  );
  await expectOthersServed(namespace, redis);
  await expectLeftOut(namespace);
  expect([third, fourth].map(({ pid }) => pid)).not.toContain(undefined);
});

test('two that find their ends at the same moment: both count', async () => {
  const namespace = await world.namespace();
  const lease = { namespace, name: 'millrace-controller' };
  await world.objects.create(LEASES, namespace, { metadata: lease, spec: {} });
  const pool = `${namespace}/trapped`;
  const { leases } = createKubeApi(world.transport);
  // both have read the lease before either writes it
  const bothRead = Promise.withResolvers<void>();
  let reads = 0;
  const get: typeof leases.get = async (ref) => {
    const found = await leases.get(ref);
    if (++reads === 2) bothRead.resolve();
    await bothRead.promise;
    return found;
  };
  const api = { leases: { ...leases, get } };
  const log = pino({ level: 'silent' });
  const open = (): Promise<Quarantine> =>
    openQuarantine({ api, lease, folder: undefined, left: [pool], now: Date.now, log });
  await Promise.all([open(), open()]);
  const { metadata } = await world.objects.get(LEASES, lease);
  const marks = parseMarks(metadata.annotations?.['millrace.dev/ended-at']);
  expect(marks.get(pool)?.ends).toBe(2);
  expect(leftOutFor(marks, pool, Date.now())).toBeGreaterThan(0);
});

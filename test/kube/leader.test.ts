/** Leader election on a real API server: who leads, and until when. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
import type { KubeApi } from '../../kube/api.ts';
import type { LeadOptions } from '../../kube/leader.ts';
import { lead } from '../../kube/leader.ts';
import type { ObjectRef } from '../../kube/resources.ts';
import { startProxiedApi, type ProxiedApi } from '../support/proxied-api.ts';

const timing = { leaseDurationMs: 2000, renewDeadlineMs: 1200, retryPeriodMs: 200 };
/** So long that a test which had to wait for it would fail. */
const patient = { leaseDurationMs: 900_000, renewDeadlineMs: 600_000, retryPeriodMs: 100 };
const bounded = { timeout: 120_000 };

let world: ProxiedApi;
let api: KubeApi;
let lease: ObjectRef;

beforeAll(async () => {
  world = await startProxiedApi();
  api = world.direct;
});
afterAll(() => world?.[Symbol.asyncDispose]());
beforeEach(async () => {
  lease = { namespace: await world.server.namespace('leader'), name: 'controller' };
});

/** A candidate whose work lasts until it is asked to stop. Times are of performance.now(), ms. */
function candidate(identity: string, options: Partial<LeadOptions> = {}) {
  const controller = new AbortController();
  const started = Promise.withResolvers<number>();
  const stopped = Promise.withResolvers<{ at: number; reason: unknown }>();
  const finished = lead(
    { api, lease, identity, signal: controller.signal, timing, ...options },
    async (leading) => {
      started.resolve(performance.now());
      if (!leading.aborted) await once(leading, 'abort');
      stopped.resolve({ at: performance.now(), reason: leading.reason });
    },
  );
  return {
    /** Leads for the first time. */
    started: started.promise,
    /** Leads no more. */
    stopped: stopped.promise,
    finished,
    async stop() {
      controller.abort(new Error('stop'));
      await finished;
    },
    async [Symbol.asyncDispose]() {
      await this.stop();
    },
  };
}

const holder = async (): Promise<string | undefined> => (await api.leases.get(lease)).spec?.holderIdentity;

test('one leads, and hands over immediately when it stops', bounded, async () => {
  await using a = candidate('a', { timing: patient });
  await a.started;
  const holders: string[] = [];
  await using b = candidate('b', { timing: patient, onHolder: (identity) => holders.push(identity) });
  await expect.poll(() => holders).toEqual(['a']);
  await a.stop();
  await b.started;
  expect(holders).toEqual(['a', '', 'b']);
  expect((await api.leases.get(lease)).spec).toMatchObject({ holderIdentity: 'b', leaseTransitions: 1 });
});

test('the lease is held until the work has ended', bounded, async () => {
  const controller = new AbortController();
  const work = Promise.withResolvers<void>();
  const started = Promise.withResolvers<void>();
  const asked = Promise.withResolvers<void>();
  const finished = lead({ api, lease, identity: 'a', signal: controller.signal, timing }, async (leading) => {
    started.resolve();
    await once(leading, 'abort');
    asked.resolve();
    await work.promise;
  });
  await started.promise;
  controller.abort(new Error('stop'));
  await asked.promise;
  const { spec: before } = await api.leases.get(lease);
  await expect
    .poll(async () => (await api.leases.get(lease)).spec?.renewTime, bounded)
    .not.toBe(before?.renewTime);
  expect(await holder()).toBe('a');
  work.resolve();
  await finished;
  expect(await holder()).toBeUndefined();
});

test('a candidate that is stopped before it leads leaves nothing', bounded, async () => {
  const controller = new AbortController();
  const reached: KubeApi['leases'] = {
    ...api.leases,
    async create(...args) {
      const created = await api.leases.create(...args);
      controller.abort(new Error('stop'));
      return created;
    },
  };
  let worked = false;
  await lead(
    { api: { leases: reached }, lease, identity: 'a', signal: controller.signal, timing },
    async () => {
      worked = true;
    },
  );
  expect(worked).toBe(false);
  expect(await holder()).toBeUndefined();
});

test('work that ends by itself ends it all, and gives the lease back', bounded, async () => {
  const { signal } = new AbortController();
  await lead({ api, lease, identity: 'a', signal, timing }, async () => {});
  expect(await holder()).toBeUndefined();
  const failure = new Error('no');
  const failing = lead({ api, lease, identity: 'a', signal, timing }, () => Promise.reject(failure));
  await expect(failing).rejects.toBe(failure);
  expect(await holder()).toBeUndefined();
});

test('a leader that is killed is followed when its lease has run out, not before', bounded, async () => {
  const script = join(import.meta.dirname, '../fixtures/candidate.ts');
  const child = spawn(
    process.execPath,
    [script, world.server.kubeconfig, lease.namespace, lease.name, 'child'],
    {
      stdio: ['ignore', 'pipe', 'inherit'],
    },
  );
  try {
    await once(child.stdout, 'data');
    await using b = candidate('b');
    child.kill('SIGKILL');
    await once(child, 'exit');
    const last = await api.leases.get(lease);
    await b.started;
    const next = await api.leases.get(lease);
    expect(last.spec?.holderIdentity).toBe('child');
    const waited = Date.parse(next.spec?.acquireTime ?? '') - Date.parse(last.spec?.renewTime ?? '');
    expect(waited).toBeGreaterThanOrEqual(timing.leaseDurationMs);
  } finally {
    child.kill('SIGKILL');
  }
});

test(
  'a leader that is cut off steps down before another takes over, and competes again',
  bounded,
  async () => {
    const errors: unknown[] = [];
    await using a = candidate('a', { api: world.proxied, onError: (error) => errors.push(error) });
    await a.started;
    await using b = candidate('b');
    world.proxy.stall();
    try {
      const stepped = await a.stopped;
      const took = await b.started;
      expect(stepped.reason).toEqual(
        new Error(`the lease ${lease.namespace}/controller could not be renewed for 1.2 s`),
      );
      expect(stepped.at).toBeLessThan(took);
    } finally {
      world.proxy.resume();
    }
    await b.stop();
    await expect.poll(holder, bounded).toBe('a');
  },
);

test('a frozen API server costs the lead, and its return gives it back', bounded, async () => {
  await using a = candidate('a');
  await a.started;
  world.server.freeze();
  try {
    await a.stopped;
  } finally {
    world.server.thaw();
  }
  const before = (await api.leases.get(lease)).spec?.renewTime;
  await expect.poll(async () => (await api.leases.get(lease)).spec?.renewTime, bounded).not.toBe(before);
});

test('a leader that was overruled stops', bounded, async () => {
  await using a = candidate('a', { timing: { ...patient, retryPeriodMs: 100 } });
  await a.started;
  await expect
    .poll(async () => {
      const current = await api.leases.get(lease);
      const spec = { ...current.spec, holderIdentity: 'usurper', leaseDurationSeconds: 3600 };
      return await api.leases.update({ ...current, spec }).then(holder, () => undefined);
    }, bounded)
    .toBe('usurper');
  const { reason } = await a.stopped;
  expect(reason).toEqual(new Error(`the lease ${lease.namespace}/controller was acquired by usurper`));
});

test('of many that start together one leads', bounded, async () => {
  let leading = 0;
  let most = 0;
  const controllers = Array.from({ length: 8 }, () => new AbortController());
  const won = Promise.withResolvers<void>();
  const all = controllers.map(({ signal }, i) =>
    lead({ api, lease, identity: `c${i}`, signal, timing: patient }, async (stop) => {
      most = Math.max(most, ++leading);
      won.resolve();
      // The next one wins only when this one stops: each is stopped by its own controller.
      controllers[i]?.abort(new Error('next'));
      if (!stop.aborted) await once(stop, 'abort');
      leading--;
    }),
  );
  await won.promise;
  await Promise.all(all);
  expect(most).toBe(1);
  expect((await api.leases.get(lease)).spec?.leaseTransitions).toBe(7);
});

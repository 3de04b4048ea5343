/** `reflect` against a real API server, with faults in between: a proxy, a frozen server, a watch with wrong data. */
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { KubeApi } from '../../kube/api.ts';
import { createKubeApi } from '../../kube/client.ts';
import { fromKubeconfig } from '../../kube/kubeconfig.ts';
import { KubeError } from '../../kube/errors.ts';
import { LEASES, POOLS } from '../../kube/resources.ts';
import { Silent } from '../../kube/silence.ts';
import { createTransport } from '../../kube/transport.ts';
import type { ReflectOptions, Reflector } from '../../kube/watch.ts';
import { reflect } from '../../kube/watch.ts';
import type { Lease } from '../../kube/wire.ts';
import { systemClock } from '../../runtime/clock.ts';
import { startProxiedApi, type ProxiedApi } from '../support/proxied-api.ts';

const definition = join(import.meta.dirname, '../../charts/millrace/files/workerpools.yaml');

const bounded = { timeout: 120_000 };

let world: ProxiedApi;
let direct: KubeApi;
/** Through the proxy. */
let api: KubeApi;
let namespace: string;

beforeAll(async () => {
  world = await startProxiedApi();
  ({ direct, proxied: api } = world);
});
afterAll(() => world?.[Symbol.asyncDispose]());
beforeEach(async () => {
  namespace = await world.server.namespace('watch');
});

/** `+key holder` for what is there, `-key` for what went, without the namespace. */
type Seen = string[];

interface Watching extends AsyncDisposable {
  seen: Seen;
  errors: unknown[];
  reflector: Reflector<Lease, Lease>;
  controller: AbortController;
  /** Resolves when `done` holds; looks after every change and every error. */
  until(done: () => boolean): Promise<void>;
}

/** Leases of this test's namespace: the smallest of objects that need no definition. */
function start(options: Partial<ReflectOptions<Lease>> = {}): Watching {
  const seen: Seen = [];
  const errors: unknown[] = [];
  const controller = new AbortController();
  let wake = Promise.withResolvers<void>();
  const changed = (): void => {
    wake.resolve();
    wake = Promise.withResolvers();
  };
  const reflector = reflect<Lease>({
    api,
    resource: LEASES,
    namespaces: [namespace],
    signal: controller.signal,
    backoff: { initialMs: 20, maxMs: 100 },
    onChange(key, object) {
      const name = key.split('/')[1];
      seen.push(object ? `+${name} ${object.spec?.holderIdentity}` : `-${name}`);
      changed();
    },
    onError(error) {
      errors.push(error);
      changed();
    },
    ...options,
  });
  return {
    seen,
    errors,
    reflector,
    controller,
    async until(done) {
      while (!done()) await wake.promise;
    },
    async [Symbol.asyncDispose]() {
      controller.abort(new Error('the test is over'));
      await reflector.stopped;
    },
  };
}

const pool = (name: string): object => ({
  apiVersion: 'millrace.dev/v1alpha1',
  kind: 'WorkerPool',
  metadata: { namespace, name },
  spec: {
    redis: { url: 'redis://redis' },
    scaleTargetRef: { apiVersion: 'apps/v1', kind: 'Deployment', name },
  },
});
const create = (name: string, holderIdentity = 'x', metadata: object = {}): Promise<Lease> =>
  direct.leases.create({ metadata: { namespace, name, ...metadata }, spec: { holderIdentity } });
const remove = (name: string): Promise<string> =>
  world.server.kubectl(['-n', namespace, 'delete', 'lease', name]);

test('delivers existing objects, then every change', async () => {
  await create('a');
  const b = await create('b');
  await using watching = start();
  await watching.reflector.synced;
  expect(watching.seen.toSorted()).toEqual(['+a x', '+b x']);
  await direct.leases.update({ ...b, spec: { holderIdentity: 'y' } });
  await create('c');
  await remove('a');
  await watching.until(() => watching.seen.length === 5);
  expect(watching.seen.slice(2)).toEqual(['+b y', '+c x', '-a']);
  expect([...watching.reflector.store.keys()]).toEqual([`${namespace}/b`, `${namespace}/c`]);
  expect(watching.reflector.stats()).toEqual({ lastEvent: expect.any(Number), restarts: 0 });
});

test('delivers what existed before', async () => {
  const a = await create('a');
  const previous: (string | undefined)[] = [];
  await using watching = start({
    onChange: (_key, _object, before) => previous.push(before?.spec?.holderIdentity),
  });
  await watching.reflector.synced;
  await direct.leases.update({ ...a, spec: { holderIdentity: 'y' } });
  await remove('a');
  await expect.poll(() => previous).toEqual([undefined, 'x', 'y']);
});

test('lists in pages', async () => {
  const names = ['a', 'b', 'c', 'd', 'e'];
  for (const name of names) await create(name);
  await using watching = start({ pageSize: 2 });
  await watching.reflector.synced;
  expect(watching.seen).toEqual(names.map((name) => `+${name} x`));
});

test('keeps to its namespaces and its labels', async () => {
  const labels = { app: 'mine' };
  const [here, other] = [namespace, await world.server.namespace('watch')];
  for (const ns of [here, other, await world.server.namespace('watch')]) {
    namespace = ns;
    await create('mine', ns, { labels });
    await create('alien', ns);
  }
  await using watching = start({ namespaces: [here, other], labelSelector: 'app=mine' });
  await watching.reflector.synced;
  expect(watching.seen.toSorted()).toEqual([`+mine ${here}`, `+mine ${other}`].toSorted());
  await using all = start({ namespaces: [undefined], labelSelector: 'app=mine' });
  await all.reflector.synced;
  expect(all.seen).toHaveLength(3);
});

test('stores no managedFields, and what the transform makes', async () => {
  await create('a', 'x', { labels: { big: 'yes' } });
  await using watching = start({
    transform(object) {
      delete object.metadata.labels;
      return object;
    },
  });
  await watching.reflector.synced;
  const stored = watching.reflector.store.get(`${namespace}/a`);
  expect(stored?.spec).toEqual({ holderIdentity: 'x' });
  expect(Object.keys(stored?.metadata ?? {}).toSorted()).toEqual([
    'creationTimestamp',
    'name',
    'namespace',
    'resourceVersion',
    'uid',
  ]);
});

describe('what the transform leaves out', () => {
  const key = (name: string): string => `${namespace}/${name}`;

  test('is not there, and is reported as gone once it is left out', async () => {
    const b = await create('b', 'alien');
    await create('a');
    await using watching = start({
      transform: (lease) => (lease.spec?.holderIdentity === 'alien' ? undefined : lease),
    });
    await watching.reflector.synced;
    expect(watching.seen).toEqual(['+a x']);
    await direct.leases.update({ ...b, spec: { holderIdentity: 'y' } });
    await watching.until(() => watching.seen.length === 2);
    const now = await direct.leases.get({ namespace, name: 'b' });
    await direct.leases.update({ ...now, spec: { holderIdentity: 'alien' } });
    await watching.until(() => watching.seen.length === 3);
    expect(watching.seen.slice(1)).toEqual(['+b y', '-b']);
    expect([...watching.reflector.store.keys()]).toEqual([key('a')]);
  });

  test('is there once it was read by other means, unless the watch was faster', async () => {
    const names = new Set<string>();
    const [a, b, c] = [await create('a'), await create('b'), await create('c')];
    await using watching = start({
      transform: (lease) => (names.has(lease.metadata.name) ? lease : undefined),
    });
    await watching.reflector.synced;
    for (const name of ['a', 'b', 'c', 'd']) names.add(name);
    const reads = ['a', 'b', 'c', 'd'].map((name) => watching.reflector.beginRead(key(name)));
    await direct.leases.update({ ...b, spec: { holderIdentity: 'newer' } });
    await remove('c');
    await watching.until(() => watching.seen.length === 2);
    for (const [i, found] of [a, b, c, undefined].entries()) reads[i]?.(found);
    const { store } = watching.reflector;
    expect(store.get(key('a'))?.spec?.holderIdentity).toBe('x');
    expect(store.get(key('b'))?.spec?.holderIdentity).toBe('newer');
    expect([store.has(key('c')), store.has(key('d'))]).toEqual([false, false]);
    // without its managedFields, and without a report
    expect(store.get(key('a'))?.metadata.managedFields).toBeUndefined();
    expect(watching.seen).toEqual(['+b newer', '-c']);
  });
});

test('delivers every key again from time to time', async () => {
  await create('a');
  await using watching = start({ resyncMs: 50 });
  await watching.until(() => watching.seen.length === 3);
  expect(watching.seen).toEqual(['+a x', '+a x', '+a x']);
});

test("continues after a consumer's mistake", async () => {
  await create('a');
  const mistake = new Error('mistake');
  let calls = 0;
  await using watching = start({
    onChange() {
      if (++calls === 1) throw mistake;
    },
  });
  await watching.reflector.synced;
  await create('b');
  await expect.poll(() => calls).toBe(2);
  expect(watching.errors).toEqual([mistake]);
  expect(watching.reflector.stats().restarts).toBe(0);
});

/** The real API, with the first watch replaced. */
const firstWatch = (watch: KubeApi['watch']): { api: KubeApi; lists: () => number } => {
  let watches = 0;
  let lists = 0;
  const faulty: KubeApi = {
    ...api,
    list(...args) {
      lists++;
      return api.list(...args);
    },
    watch: (...args) => (watches++ === 0 ? watch : api.watch)(...args),
  };
  return { api: faulty, lists: () => lists };
};

describe('a watch that fails', () => {
  test('by breaking continues where it was, and misses nothing', async () => {
    const { api: counted, lists } = firstWatch(api.watch);
    await using watching = start({ api: counted });
    await watching.reflector.synced;
    await create('a');
    await watching.until(() => watching.seen.length === 1);
    world.proxy.cut();
    await create('b');
    await remove('a');
    await watching.until(() => watching.seen.length === 3);
    expect(watching.seen).toEqual(['+a x', '+b x', '-a']);
    expect(watching.errors).toEqual([expect.objectContaining({ reason: 'Unreachable' })]);
    expect(watching.reflector.stats().restarts).toBe(1);
    expect(lists()).toBe(1);
  });

  test('by being too old lists again', bounded, async () => {
    // The server remembers changes from when it began to serve a resource: to know nothing of version 1, it has to begin later.
    await world.server.kubectl(['apply', '-f', definition]);
    await world.server.kubectl([
      'wait',
      '--for=condition=Established',
      'crd/workerpools.millrace.dev',
      '--timeout=120s',
    ]);
    const { api: faulty, lists } = firstWatch((resource, selection, { seconds }, options) =>
      api.watch(resource, selection, { resourceVersion: '1', seconds }, options),
    );
    const controller = new AbortController();
    const failed = Promise.withResolvers<unknown>();
    const created = Promise.withResolvers<string>();
    const { stopped } = reflect({
      api: faulty,
      resource: POOLS,
      signal: controller.signal,
      onChange: created.resolve,
      onError: failed.resolve,
    });
    expect(await failed.promise).toMatchObject({ expired: true });
    await world.server.kubectl(['create', '-f', '-'], { input: JSON.stringify(pool('late')) });
    expect(await created.promise).toBe(`${namespace}/late`);
    expect(lists()).toBe(2);
    controller.abort();
    await stopped;
  });

  test('by going silent is given up, and a list finds what it missed', async () => {
    const began = Promise.withResolvers<void>();
    const mute: KubeApi['watch'] = (_resource, _selection, _start, { signal }) => {
      began.resolve();
      const never = new Promise<never>((_resolve, reject) =>
        signal.addEventListener('abort', () => reject(signal.reason)),
      );
      return { [Symbol.asyncIterator]: () => ({ next: () => never }) };
    };
    await create('a');
    const { api: faulty, lists } = firstWatch(mute);
    const missed = Promise.withResolvers<void>();
    const late: KubeApi = {
      ...faulty,
      async list(...args) {
        // the one after the silence, which may be noticed before there is anything that was missed
        if (lists() === 1) await missed.promise;
        return faulty.list(...args);
      },
    };
    await using watching = start({ api: late, silenceMs: 400 });
    await began.promise;
    await create('b');
    await remove('a');
    missed.resolve();
    await watching.until(() => watching.seen.length === 3);
    expect(watching.seen).toEqual(['+a x', '+b x', '-a']);
    expect(watching.errors).toEqual([expect.any(Silent)]);
    expect(lists()).toBe(2);
  });

  test('by the network swallowing it is given up too', bounded, async () => {
    await using watching = start({ silenceMs: 3000 });
    await watching.reflector.synced;
    await create('a');
    await watching.until(() => watching.seen.length === 1);
    world.proxy.stall();
    try {
      await create('b');
      await watching.until(() => watching.errors.some((error) => error instanceof Silent));
      expect(watching.seen).toEqual(['+a x']);
    } finally {
      world.proxy.resume();
    }
    await watching.until(() => watching.seen.includes('+b x'));
  });

  test('again and again backs off, with jitter, up to the longest delay', async () => {
    const slept: number[] = [];
    const resyncMs = 3_600_000;
    const controller = new AbortController();
    const down: KubeApi = {
      ...api,
      list: () =>
        Promise.reject(new KubeError({ call: 'list', status: 500, reason: 'InternalError', message: 'no' })),
    };
    const { stopped, synced } = reflect({
      api: down,
      resource: LEASES,
      signal: controller.signal,
      onChange: () => {},
      backoff: { initialMs: 100, maxMs: 1000 },
      resyncMs,
      random: () => 0.5,
      clock: {
        now: () => 0,
        elapsed: () => 0,
        async sleep(ms, signal) {
          if (ms === resyncMs) return await systemClock.sleep(ms, signal);
          slept.push(ms);
          if (slept.length === 6) controller.abort(new Error('enough'));
        },
      },
    });
    await stopped;
    expect(slept).toEqual([75, 150, 300, 600, 750, 750]);
    await expect(synced).rejects.toThrow('enough');
  });
});

const count = (kind: string): number =>
  process.getActiveResourcesInfo().filter((name) => name === kind).length;

test('stops immediately and leaves nothing behind', async () => {
  const before = { timers: count('Timeout'), sockets: count('TCPSocketWrap') };
  const transport = createTransport(fromKubeconfig(world.server.kubeconfig));
  const watching = start({ api: createKubeApi(transport), namespaces: ['default', namespace] });
  await watching.reflector.synced;
  expect(count('Timeout')).toBeGreaterThan(before.timers);
  await watching[Symbol.asyncDispose]();
  transport[Symbol.dispose]();
  await expect.poll(() => count('TCPSocketWrap')).toBeLessThanOrEqual(before.sockets);
  expect(count('Timeout')).toBeLessThanOrEqual(before.timers);
});

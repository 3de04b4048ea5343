/** Which pods can be parked, at which size, and what a pod's size is; as rows. */
import { describe, expect, test } from 'vitest';
import { parkedPodsOf, pendingResize, requestedSize } from '../../controller/act/parked/size.ts';
import { withDefaults } from '../../kube/defaults.ts';
import { isLess, parseQuantity } from '../../kube/quantity.ts';
import type { Pod, PodTemplateSpec } from '../../kube/wire.ts';
import type { ParkedSpec, WorkerPool } from '../../kube/workerpool.ts';

type Container = NonNullable<PodTemplateSpec['spec']>['containers'][number];
type Resources = Container['resources'];

const worker = (resources: Resources, more: Partial<Container> = {}): Container => ({
  name: 'worker',
  image: 'worker:1',
  ...(resources && { resources }),
  ...more,
});

function poolOf(
  containers: Container[],
  parked: Partial<ParkedSpec> | undefined = {},
  more: { spec?: object; status?: WorkerPool['status']; pod?: object } = {},
): WorkerPool {
  return {
    apiVersion: 'millrace.dev/v1alpha1',
    kind: 'WorkerPool',
    metadata: { namespace: 'maps', name: 'tiles' },
    spec: withDefaults({
      redis: {},
      template: { spec: { containers, ...more.pod } },
      ...(parked && { parked: { replicas: 2, ...parked } }),
      ...more.spec,
    }),
    ...(more.status && { status: more.status }),
  };
}

const half = { requests: { cpu: '500m', memory: '128Mi' }, limits: { memory: '256Mi' } };
const sizes = parkedPodsOf(poolOf([worker(half)], { memory: '80Mi' }))?.sizes;
if (!sizes) throw new Error('there are no sizes');

describe('the sizes', () => {
  test('are what the template requests, and what parked says', () => {
    expect(sizes).toEqual({
      replicas: 2,
      container: 'worker',
      full: { cpu: '500m', memory: '128Mi' },
      parked: { cpu: '10m', memory: '80Mi' },
    });
  });

  test('of a container that has only limits are its limits, and memory stays unless it is named', () => {
    const { full, parked } = parkedPodsOf(poolOf([worker({ limits: { cpu: 1 as never } })]))?.sizes ?? {};
    expect([full, parked]).toEqual([{ cpu: '1' }, { cpu: '10m' }]);
    expect(parkedPodsOf(poolOf([worker(half)]))?.sizes.parked).toEqual({ cpu: '10m', memory: '128Mi' });
  });

  test('are those of the container that runs the worker', () => {
    const proxy = worker({ requests: { cpu: '1' } }, { name: 'proxy' });
    const pool = poolOf([proxy, worker(half)], {}, { spec: { workerContainer: 'worker' } });
    expect(parkedPodsOf(pool)?.sizes).toMatchObject({ container: 'worker', full: { cpu: '500m' } });
  });

  test('of a pool that no longer parks are known while parked pods are left', () => {
    const left = poolOf([worker(half)], undefined, { status: { parkedReplicas: 1 } });
    Reflect.deleteProperty(left.spec, 'parked');
    expect(parkedPodsOf(left)?.sizes).toMatchObject({ replicas: 0, parked: undefined });
    expect(parkedPodsOf({ ...left, status: { parkedReplicas: 0 } })).toBeUndefined();
    expect(parkedPodsOf({ ...left, status: {} })).toBeUndefined();
  });
});

const exact = { requests: { cpu: '500m', memory: '128Mi' }, limits: { cpu: '0.5', memory: '128Mi' } };
const restarts = (resourceName: string): Partial<Container> => ({
  resizePolicy: [{ resourceName, restartPolicy: 'RestartContainer' }],
});

describe('pods cannot be parked', () => {
  test.each<[string, WorkerPool, string]>([
    ['without a request', poolOf([worker(undefined)]), 'requests no CPU'],
    ['with memory alone', poolOf([worker({ requests: { memory: '1Gi' } })]), 'set resources.requests.cpu'],
    [
      'at what they request',
      poolOf([worker(half)], { cpu: '0.5' }),
      'parked.cpu 0.5 is not less than what container "worker" of the template requests, 500m',
    ],
    ['at more memory', poolOf([worker(half)], { memory: '1Gi' }), 'parked.memory 1Gi is more than'],
    [
      'at a memory that is not requested',
      poolOf([worker({ requests: { cpu: '1' } })], { memory: '80Mi' }),
      'requests, nothing: lower or remove parked.memory',
    ],
    ['of the class Guaranteed', poolOf([worker(exact)]), 'remove the CPU limit of container "worker"'],
    [
      'of the class Guaranteed, by limits alone',
      poolOf([worker({ limits: { cpu: '1', memory: '1Gi' } })]),
      'class Guaranteed',
    ],
    ['that a resize restarts', poolOf([worker(half, restarts('cpu'))]), 'remove the resizePolicy of cpu'],
    [
      'that a resize of memory restarts',
      poolOf([worker(half, restarts('memory'))], { memory: '80Mi' }),
      'remove the resizePolicy of memory',
    ],
    ['on Windows', poolOf([worker(half)], {}, { pod: { os: { name: 'windows' } } }), 'on Windows'],
    [
      'with resources of the pod',
      poolOf([worker(half)], {}, { pod: { resources: { requests: { cpu: '1' } } } }),
      'spec.resources',
    ],
  ])('%s', (_what, pool, why) => {
    const made = parkedPodsOf(pool);
    expect(made?.unfit).toContain(why);
    // what was parked before can still be woken
    expect(made?.sizes).toMatchObject({ replicas: 0, parked: undefined });
  });

  test.each<[string, WorkerPool]>([
    ['a limit above the request', poolOf([worker({ ...half, limits: { cpu: '1' } })])],
    ['exact limits beside a container without them', poolOf([worker(exact), worker({}, { name: 'log' })])],
    ['memory that restarts and is not resized', poolOf([worker(half, restarts('memory'))])],
  ])('but they can with %s', (_what, pool) => expect(parkedPodsOf(pool)?.unfit).toBeUndefined());
});

const podOf = (requests: Record<string, string> | undefined): Pod => ({
  metadata: { name: 'a' },
  spec: { containers: [worker(requests && { requests })] },
});

test.each<[requests: Record<string, string> | undefined, settled: string, rollingOut: string]>([
  [{ cpu: '500m', memory: '128Mi' }, 'full', 'full'],
  [{ cpu: '0.5', memory: '134217728' }, 'full', 'full'],
  [{ cpu: '2', memory: '1Gi' }, 'full', 'full'],
  [{ cpu: '10m', memory: '80Mi' }, 'parked', 'parked'],
  [{ cpu: '0.01', memory: '81920Ki' }, 'parked', 'parked'],
  // parked with other settings, or, while a rollout runs, by an earlier template
  [{ cpu: '20m', memory: '128Mi' }, 'parked', 'full'],
  [{ cpu: '500m', memory: '80Mi' }, 'parked', 'full'],
  [undefined, 'full', 'full'],
])('a pod that requests %j is %s, and %s during a rollout', (requests, settled, rollingOut) => {
  expect(requestedSize(podOf(requests), sizes, false)).toBe(settled);
  expect(requestedSize(podOf(requests), sizes, true)).toBe(rollingOut);
});

test('a resize that is not in force is reported as the kubelet does', () => {
  const seen = (type: string, reason: string, status = 'True'): string | undefined =>
    pendingResize({ ...podOf({}), status: { conditions: [{ type, status, reason, message: 'no room' }] } });
  expect(seen('PodResizePending', 'Deferred')).toBe('Deferred: no room');
  expect(seen('PodResizePending', 'Infeasible')).toBe('Infeasible: no room');
  expect(seen('PodResizeInProgress', 'Error')).toBe('Error: no room');
  expect(seen('PodResizeInProgress', '')).toBeUndefined();
  expect(seen('PodResizePending', 'Deferred', 'False')).toBeUndefined();
});

test.each<[unknown, number | undefined]>([
  ['500m', 0.5],
  ['0.5', 0.5],
  [2, 2],
  ['1e3', 1000],
  ['1E', 1e18],
  ['80Mi', 83_886_080],
  ['1.5Gi', 1_610_612_736],
  ['100u', 1e-4],
  ['.5', 0.5],
  ['', undefined],
  ['5 m', undefined],
  ['10MB', undefined],
  [undefined, undefined],
])('the quantity %j is %s', (text, number) => {
  const read = parseQuantity(text);
  if (number === undefined) expect(read).toBeUndefined();
  else expect(read).toBeCloseTo(number, 12);
});

test('quantities that differ by rounding are equal', () => {
  expect([isLess(0.07, 70 * 1e-3), isLess(70 * 1e-3, 0.07), isLess(0.069, 0.07)]).toEqual([
    false,
    false,
    true,
  ]);
});

/**
 * The definition of WorkerPool on a real API server: what it accepts, rejects (and with which message) and fills in, and the
 * output of `kubectl scale`, `kubectl get` and `kubectl explain`.
 */
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import { withDefaults, type WorkerPoolSpecInput } from '../../kube/defaults.ts';
import { startApiServer, type ApiServer } from '../support/apiserver.ts';
import { good } from './good-pools.ts';
import { adopting, bad, base, container, type Json } from './pools.ts';

const root = join(import.meta.dirname, '../..');
const definition = join(root, 'charts/millrace/files/workerpools.yaml');
const samples = join(root, 'manifests/samples');

let server: ApiServer;
beforeAll(async () => {
  server = await startApiServer();
  await server.kubectl(['apply', '--server-side', '--warnings-as-errors', '-f', definition]);
  await server.kubectl([
    'wait',
    '--for=condition=Established',
    'crd/workerpools.millrace.dev',
    '--timeout=120s',
  ]);
});
afterAll(async () => await server?.[Symbol.asyncDispose]());

const manifest = (name: string, spec: Json): string =>
  JSON.stringify({ apiVersion: 'millrace.dev/v1alpha1', kind: 'WorkerPool', metadata: { name }, spec });

const dryRun = ['create', '--dry-run=server', '--warnings-as-errors', '-f', '-', '-o', 'json'];
const refusal = (spec: Json, name = 'bad'): Promise<string> =>
  server.kubectl(dryRun, { input: manifest(name, spec) }).then(
    () => 'accepted',
    (error: Error) => error.message,
  );

describe('refused, with what to do', () => {
  test.each(bad)('%s', async (_what, change, message) => {
    expect(await refusal({ ...base, ...change })).toContain(message);
  });

  test('a name that does not fit into a label', async () => {
    expect(await refusal(base, 'a'.repeat(64))).toContain('choose a shorter name');
    expect(await refusal(base, 'a'.repeat(63))).toBe('accepted');
  });
});

describe('accepted', () => {
  test.each(readdirSync(samples))('the sample %s', async (file) => {
    const namespace = await server.namespace('sample');
    const args = ['apply', '-n', namespace, '--warnings-as-errors', '-f', join(samples, file)];
    expect(await server.kubectl(args)).toMatch(/created/);
  });

  test.each(good)('%s', async (_what, spec) => {
    expect(await refusal(spec)).toBe('accepted');
  });
});

test('fills in the same defaults as withDefaults', async () => {
  const inputs: WorkerPoolSpecInput[] = [
    base,
    adopting,
    { ...base, scaling: { scaleDown: {} }, retry: { backoff: { initial: '2s' } }, fallback: { replicas: 2 } },
    { ...base, results: { ttl: '1h' }, deadLetters: { max: 5 } },
    { ...base, source: { bullmq: { queues: ['mail'] } } },
    { ...base, source: { custom: { waiting: [{ command: 'LLEN', key: 'a' }], delayed: [{ key: 'b' }] } } },
    { ...base, scaling: { targetWait: '10s', scaleUp: { maxStep: '50%' }, scaleDown: { maxStep: 3 } } },
  ];
  for (const input of inputs) {
    const made = parse(await server.kubectl(dryRun, { input: manifest('defaults', { ...input }) }));
    expect(made.spec).toEqual(withDefaults(input));
  }
});

describe('a pool that lives', () => {
  let namespace: string;
  const kubectl = (...args: string[]): Promise<string> => server.kubectl(['-n', namespace, ...args]);
  const get = (path: string): Promise<string> => kubectl('get', 'wp', 'tiles', '-o', `jsonpath=${path}`);
  const patch = (change: Json, ...more: string[]): Promise<string> =>
    kubectl('patch', 'wp', 'tiles', '--type=merge', '-p', JSON.stringify(change), ...more);

  beforeAll(async () => {
    namespace = await server.namespace('pool');
    const template = { metadata: { labels: { team: 'maps' } }, spec: { containers: [container] } };
    await server.kubectl(['create', '-n', namespace, '-f', '-'], {
      input: manifest('tiles', { ...base, template }),
    });
  });

  test('keeps what it does not know of the pod template', async () => {
    const spec = {
      containers: [{ ...container, args: ['--command', 'cat'] }],
      terminationGracePeriodSeconds: 9,
    };
    await patch({ spec: { template: { spec } } });
    expect(JSON.parse(await get('{.spec.template}'))).toEqual({
      metadata: { labels: { team: 'maps' } },
      spec,
    });
  });

  test('does not change its queue, nor between template and target', async () => {
    await expect(patch({ spec: { queue: 'other' } })).rejects.toThrow(
      'create a second pool for the new queue',
    );
    const adopt = { template: null, scaleTargetRef: { name: 'thumbnails' } };
    await expect(patch({ spec: adopt })).rejects.toThrow('delete this pool and create a new one');
    await patch({ spec: { queue: 'task_queue', result: 'elsewhere', redis: { url: 'redis://other' } } });
  });

  test('status is written through /status only, and does not touch the generation', async () => {
    const generation = await get('{.metadata.generation}');
    const ready = { type: 'Ready', status: 'True', reason: 'Scaled', message: 'all is well' };
    const conditions = [{ ...ready, observedGeneration: 1, lastTransitionTime: '2026-01-01T00:00:00Z' }];
    const status = {
      queue: 'task_queue',
      replicas: 3,
      desiredReplicas: 4,
      waiting: 12,
      inFlight: 7,
      selector: 'a=b',
      conditions,
    };
    await patch({ status });
    expect(await get('{.status}')).toBe('');
    await patch({ status }, '--subresource=status');
    expect(JSON.parse(await get('{.status}'))).toEqual(status);
    expect(await get('{.metadata.generation}')).toBe(generation);

    const [header = '', row = ''] = (await kubectl('get', 'wp')).trim().split('\n');
    expect(Math.max(header.length, row.length), header).toBeLessThanOrEqual(120);
    const columns = [
      'NAME',
      'QUEUE',
      'WAITING',
      'IN FLIGHT',
      'REPLICAS',
      'DESIRED',
      'READY',
      'REASON',
      'AGE',
    ];
    expect(header.split(/\s{2,}/)).toEqual(columns);
    expect(row.split(/\s+/).slice(0, 8)).toEqual([
      'tiles',
      'task_queue',
      '12',
      '7',
      '3',
      '4',
      'True',
      'Scaled',
    ]);
    for (const category of ['all', 'autoscaling']) expect(await kubectl('get', category)).toContain('tiles');
  });

  test('/scale reports the replicas and sets the floor', async () => {
    await kubectl('scale', 'wp/tiles', '--replicas=3');
    expect(await get('{.spec.minReplicas}')).toBe('3');
    await patch({ status: { replicas: 5, selector: 'millrace.dev/pool=tiles' } }, '--subresource=status');
    const path = `/apis/millrace.dev/v1alpha1/namespaces/${namespace}/workerpools/tiles/scale`;
    expect(JSON.parse(await server.kubectl(['get', '--raw', path]))).toMatchObject({
      kind: 'Scale',
      spec: { replicas: 3 },
      status: { replicas: 5, selector: 'millrace.dev/pool=tiles' },
    });
    await expect(kubectl('scale', 'wp/tiles', '--replicas=11')).rejects.toThrow('raise maxReplicas');
  });
});

test('kubectl explain has meaning and default', async () => {
  // the descriptions come with OpenAPI, which the API server publishes a moment after the resource
  const window = (): Promise<string> => server.kubectl(['explain', 'wp.spec.scaling.scaleDown.window']);
  await expect.poll(window).toMatch(/60s\s+by\s+default/);
  expect(await server.kubectl(['explain', 'workerpool.spec.template'])).toContain('PodTemplateSpec');
  const all = await server.kubectl(['explain', 'workerpool.spec', '--recursive']);
  for (const field of ['secretKeyRef', 'targetWait', 'maxStep', 'unmanaged', 'maxDeliveries', 'replicas'])
    expect(all).toMatch(new RegExp(`^ +${field}\\t`, 'm'));
});

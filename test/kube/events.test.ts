/** The event recorder before a real API server. */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import type { KubeApi } from '../../kube/api.ts';
import { createKubeApi } from '../../kube/client.ts';
import { fromKubeconfig } from '../../kube/kubeconfig.ts';
import type { Occurrence, EventRecorderOptions } from '../../kube/events.ts';
import { createEventRecorder } from '../../kube/events.ts';
import { EVENTS } from '../../kube/resources.ts';
import { createTransport, type Transport } from '../../kube/transport.ts';
import type { KubeEvent, KubeObject } from '../../kube/wire.ts';
import { startApiServer, type ApiServer } from '../support/apiserver.ts';

let server: ApiServer;
let transport: Transport;
let api: KubeApi;
let pool: KubeObject;
let time: number;
let errors: unknown[];

beforeAll(async () => {
  server = await startApiServer();
  transport = createTransport(fromKubeconfig(server.kubeconfig));
  api = createKubeApi(transport);
});
afterAll(async () => {
  transport?.[Symbol.dispose]();
  await server?.[Symbol.asyncDispose]();
});
beforeEach(async () => {
  const namespace = await server.namespace('events');
  pool = {
    apiVersion: 'millrace.dev/v1alpha1',
    kind: 'WorkerPool',
    metadata: { namespace, name: 'tiles', uid: `uid-of-${namespace}`, resourceVersion: '7' },
  };
  time = Date.parse('2026-01-02T03:04:05.678Z');
  errors = [];
});

const recorder = (options: Partial<EventRecorderOptions> = {}) =>
  createEventRecorder({
    api,
    controller: 'millrace.dev/controller',
    instance: 'millrace-0',
    onError: (error) => errors.push(error),
    clock: { now: () => time, elapsed: () => time, sleep: async () => {} },
    ...options,
  });

const scaled: Occurrence = { type: 'Normal', reason: 'ScaledUp', action: 'Scale', note: '0→3: 12 waiting' };
const failed: Occurrence = { type: 'Warning', reason: 'RedisUnreachable', action: 'Sample', note: 'refused' };

async function written(): Promise<KubeEvent[]> {
  const { namespace } = pool.metadata;
  return (await api.list(EVENTS, { namespace }, { limit: 100 })).items;
}

/** `note × count`, sorted. */
async function counts(): Promise<string[]> {
  return (await written()).map(({ note, series }) => `${note} × ${series?.count ?? 1}`).toSorted();
}

test('an event has its object and reason, and kubectl shows it', async () => {
  const { record, flush } = recorder();
  record(pool, scaled);
  await flush();
  const { namespace, name, uid } = pool.metadata;
  expect(await written()).toEqual([
    expect.objectContaining({
      type: 'Normal',
      reason: 'ScaledUp',
      action: 'Scale',
      note: '0→3: 12 waiting',
      eventTime: '2026-01-02T03:04:05.678000Z',
      reportingController: 'millrace.dev/controller',
      reportingInstance: 'millrace-0',
      regarding: {
        apiVersion: 'millrace.dev/v1alpha1',
        kind: 'WorkerPool',
        namespace,
        name,
        uid,
        resourceVersion: '7',
      },
    }),
  ]);
  const shown = await server.kubectl(['events', '-n', namespace ?? '']);
  expect(shown).toMatch(/Normal +ScaledUp +WorkerPool\/tiles +0→3: 12 waiting/);
  expect(errors).toEqual([]);
});

describe('the same again', () => {
  test('continues the event as a series, written now and then', async () => {
    const { record, flush } = recorder({ seriesPeriodMs: 30_000 });
    for (let i = 0; i < 4; i++) {
      record(pool, failed);
      time += 1000;
    }
    await expect.poll(counts).toEqual(['refused × 1']);
    time += 29_000;
    record(pool, failed);
    await expect.poll(counts).toEqual(['refused × 5']);
    record(pool, failed);
    await flush();
    expect(await counts()).toEqual(['refused × 6']);
    expect((await written())[0]?.series?.lastObservedTime).toBe('2026-01-02T03:04:38.678000Z');
    expect(errors).toEqual([]);
  });

  const cases: [what: string, again: () => [KubeObject, Occurrence], expected: number][] = [
    ['the same', () => [pool, failed], 1],
    ['another note', () => [pool, { ...failed, note: 'timed out' }], 2],
    ['another reason', () => [pool, { ...failed, reason: 'Refused' }], 2],
    [
      'another pool of the same name',
      () => [{ ...pool, metadata: { ...pool.metadata, uid: 'new' } }, failed],
      2,
    ],
    [
      'too late',
      () => {
        time += 600_001;
        return [pool, failed];
      },
      2,
    ],
  ];
  test.each(cases)('%s', async (_what, again, expected) => {
    const { record, flush } = recorder();
    record(pool, failed);
    record(...again());
    await flush();
    expect(await written()).toHaveLength(expected);
    expect(errors).toEqual([]);
  });

  test('is a new event when the old one was deleted', async () => {
    const { record, flush } = recorder();
    record(pool, failed);
    await flush();
    await server.kubectl(['delete', 'events', '--all', '-n', pool.metadata.namespace ?? '']);
    record(pool, failed);
    await flush();
    expect(await counts()).toEqual(['refused × 2']);
  });
});

test('a long note is cut to a whole character', async () => {
  const { record, flush } = recorder();
  record(pool, { ...scaled, note: 'é'.repeat(2000) });
  await flush();
  const note = (await written())[0]?.note ?? '';
  expect(note).toBe(`${'é'.repeat(510)}…`);
  expect(Buffer.byteLength(note)).toBeLessThanOrEqual(1024);
});

test('memory is bounded, and an evicted event is written first', async () => {
  const { record, flush } = recorder({ maxSeries: 2 });
  for (const note of ['a', 'a', 'b', 'c', 'a']) record(pool, { ...failed, note });
  await flush();
  expect(await counts()).toEqual(['a × 1', 'a × 2', 'b × 1', 'c × 1']);
});

test('a server that refuses or does not answer costs events, and nothing else', async () => {
  const { record, flush } = recorder({ maxWaiting: 2 });
  record({ ...pool, metadata: { ...pool.metadata, namespace: 'nowhere' } }, failed);
  for (const note of ['a', 'b', 'c']) record(pool, { ...failed, note });
  await flush();
  expect(errors).toEqual([
    new Error('an event was dropped: 2 others are waiting to be written'),
    expect.objectContaining({ status: 404 }),
  ]);
  expect(await counts()).toEqual(['a × 1', 'b × 1']);
});

test('a pool with ever new events does not suppress the events of others', async () => {
  const { record, flush } = recorder({ burst: 3, refillMs: 1_000 });
  const other = { ...pool, metadata: { ...pool.metadata, name: 'other', uid: 'uid-of-other' } };
  for (let i = 1; i <= 200; i++) record(pool, { ...scaled, note: `noise ${i}` });
  record(other, failed);
  await flush();
  expect(await counts()).toEqual(['noise 1 × 1', 'noise 2 × 1', 'noise 3 × 1', 'refused × 1']);
  expect(errors).toEqual([]);
  // one more after each while; what is a series already goes on
  time += 1_000;
  for (const note of ['noise 201', 'noise 202', 'noise 1']) record(pool, { ...scaled, note });
  await flush();
  expect(await counts()).toEqual([
    'noise 1 × 2',
    'noise 2 × 1',
    'noise 201 × 1',
    'noise 3 × 1',
    'refused × 1',
  ]);
});

/** What other autoscalers are told of a pool: label selectors, values, and what is an error instead. */
import { connect, type Socket } from 'node:net';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { describe, expect, test } from 'vitest';
import { userIn, type FrontProxy } from '../../controller/external/front-proxy.ts';
import { createKedaScaler } from '../../controller/external/keda-scaler.ts';
import { parseLabelSelector } from '../../controller/external/label-selector.ts';
import { createMeasures, Metric, type Measures } from '../../controller/external/measures.ts';
import { answerMetric } from '../../controller/external/metrics-api.ts';
import { openRelay } from '../../controller/external/relay.ts';
import type { Observation } from '../../controller/observe/observation.ts';
import type { Sampled } from '../../controller/sample/sampled.ts';
import { withDefaults } from '../../kube/defaults.ts';
import type { SourceSpec } from '../../kube/source-spec.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import type { PoolSample } from '../../queue/pool/pool-sample.ts';
import { observation } from '../support/observations.ts';

const KEY = 'media/tiles';
const selected = { namespace: 'media', name: Metric.Tasks };

function poolWith(source?: SourceSpec): WorkerPool {
  const spec = { ...withDefaults({ redis: { url: 'redis://redis' } }), ...(source && { source }) };
  const metadata = { name: 'tiles', namespace: 'media', labels: { tier: 'paid' } };
  return { apiVersion: 'millrace.dev/v1alpha1', kind: 'WorkerPool', metadata, spec };
}

function knownSample(parts: Pick<Partial<PoolSample>, 'waiting' | 'inFlight' | 'due'>): Sampled {
  const none = { waiting: 0, inFlight: 0, due: 0 };
  return { kind: 'known', sample: { ...none, ...parts } as PoolSample };
}

interface World {
  readonly pool?: WorkerPool;
  readonly sampled?: Sampled | undefined;
  readonly latest?: Observation | undefined;
  readonly elapsed?: number;
}

const measuresOf = ({ pool = poolWith(), sampled, latest, elapsed = 0 }: World): Measures =>
  createMeasures({
    pools: new Map([[KEY, pool]]),
    sampled: () => sampled,
    latest: () => latest,
    elapsed: () => elapsed,
  });

describe('a label selector', () => {
  const labels = { pool: 'tiles', tier: 'paid', 'app.kubernetes.io/name': 'maps' };
  test.each([
    ['', true],
    ['pool=tiles', true],
    ['pool==tiles,tier!=free', true],
    ['pool=green', false],
    ['tier', true],
    ['!tier', false],
    ['!canary, pool in (green, tiles)', true],
    ['pool notin (green,tiles)', false],
    ['canary notin (a)', true],
    ['canary!=a', true],
    ['app.kubernetes.io/name=maps', true],
    ['tier=', false],
    // no label of its own by that name
    ['toString', false],
  ])('%s: %s', (selector, matches) => {
    expect(parseLabelSelector(selector)(labels)).toBe(matches);
  });

  test.each(['pool=a b', 'pool in a', 'pool=(a)', '(a)', 'pool tiles', 'a,,b', '!', 'pool in (a'])(
    '%s is none',
    (selector) => {
      expect(() => parseLabelSelector(selector)).toThrow('is not a requirement of a label selector');
    },
  );
});

describe('a long label selector takes no longer than its length says', () => {
  // quadratic, it is more than any test waits for
  const long = 700_000;
  test.each([
    ['spaces behind a name', `a${' '.repeat(long)}!`],
    ['spaces behind an operator', `a in${' '.repeat(long)}!`],
    ['a long name', `${'a'.repeat(long)} b!`],
    ['a list that does not end', `a in (${'b,'.repeat(long / 2)}`],
    ['operators', 'a notin'.repeat(long / 7)],
    ['commas', ','.repeat(long)],
  ])('%s', (_, selector) => {
    expect(() => parseLabelSelector(selector)).toThrow(SyntaxError);
  });
});

describe('a value', () => {
  const sampled = knownSample({ waiting: 3, inFlight: 2, due: 1 });
  const latest = observation({ desired: 4, oldestMs: 1_500 });

  test('is of the last sample, and of the last decision', () => {
    const measures = measuresOf({ sampled, latest });
    expect(Object.values(Metric).map((metric) => measures.of(KEY, metric))).toEqual([
      { kind: 'known', value: 6 },
      { kind: 'known', value: 4 },
      { kind: 'known', value: 1.5 },
    ]);
  });

  test.each<[string, World, Metric, string]>([
    ['before the first sample', {}, Metric.Tasks, 'not been read yet'],
    [
      'while Redis is away',
      { sampled: { kind: 'unknown', reason: 'Unreachable', why: 'gone' }, latest },
      Metric.DesiredReplicas,
      'gone',
    ],
    ['before the first decision', { sampled }, Metric.DesiredReplicas, 'nothing has been decided'],
    [
      'after a decision without a sample',
      { sampled, latest: observation({ known: false }) },
      Metric.DesiredReplicas,
      'nothing has been decided',
    ],
    [
      'long after the last decision',
      { sampled, latest, elapsed: 90_001 },
      Metric.DesiredReplicas,
      '90 s old',
    ],
    [
      'of waits that a library does not show',
      { pool: poolWith({ rq: { queues: ['a'] } }), sampled, latest },
      Metric.OldestWait,
      'does not count the tasks that were taken',
    ],
  ])('is not known %s, which is an error and no zero', (_when, world, metric, why) => {
    const measures = measuresOf(world);
    expect(measures.of(KEY, metric)).toMatchObject({ kind: 'unknown', why: expect.stringContaining(why) });
    const answer = answerMetric(measures, { ...selected, name: metric }, 'tier=paid', new Date(0));
    expect(answer).toMatchObject({ status: 503, body: { reason: 'ServiceUnavailable' } });
  });

  test('is a quantity of the API', () => {
    const ask = (name: Metric): unknown =>
      answerMetric(measuresOf({ sampled, latest }), { ...selected, name }, 'pool=tiles', new Date(0)).body;
    expect(ask(Metric.Tasks)).toMatchObject({ items: [{ value: '6', metricLabels: { pool: 'tiles' } }] });
    expect(ask(Metric.OldestWait)).toMatchObject({ items: [{ value: '1500m' }] });
  });
});

test('KEDA is told that work has come, not that it goes on, and nothing while it is not known', () => {
  let sampled: Sampled = knownSample({ waiting: 0 });
  const pools = new Map([[KEY, poolWith()]]);
  const measures = createMeasures({
    pools,
    sampled: () => sampled,
    latest: () => undefined,
    elapsed: () => 0,
  });
  const scaler = createKedaScaler(measures);
  let pushes = 0;
  const scalerMetadata = { pool: 'tiles', metric: Metric.Tasks };
  const end = scaler.follow({ name: 'x', namespace: 'media', scalerMetadata }, () => pushes++);
  const see = (now: Sampled): number => {
    sampled = now;
    scaler.changed(KEY);
    return pushes;
  };
  const unknown: Sampled = { kind: 'unknown', reason: 'Unreachable', why: 'gone' };
  expect(pushes).toBe(0);
  expect(see(knownSample({ waiting: 1 }))).toBe(1);
  expect(see(knownSample({ waiting: 2 }))).toBe(1);
  expect(see(unknown)).toBe(1);
  expect(see(knownSample({ waiting: 2 }))).toBe(1);
  expect(see(knownSample({ waiting: 0 }))).toBe(1);
  expect(see(knownSample({ inFlight: 1 }))).toBe(2);
  end();
  see(knownSample({ waiting: 0 }));
  expect(see(knownSample({ waiting: 1 }))).toBe(2);
});

test('a request without a trigger, and names of any length, are refused in a line', () => {
  const scaler = createKedaScaler({ pools: new Map(), of: () => ({ kind: 'known', value: 1 }) });
  expect(() => scaler.metricValues({ scaledObjectRef: null, metricName: 'x' })).toThrow(
    'the request has no scaledObjectRef',
  );
  const long = 'x'.repeat(10_000);
  const ref = { name: 'x', namespace: long, scalerMetadata: { pool: long } };
  expect(() => scaler.isActive(ref)).toThrow(/^there is no WorkerPool "x{100}" in namespace "x{100}"$/);
});

test('the front proxy names a user with groups and extras', () => {
  const proxy: FrontProxy = {
    ca: '',
    allowedNames: [],
    userHeaders: ['x-remote-user'],
    groupHeaders: ['x-remote-group'],
    uidHeaders: ['x-remote-uid'],
    extraPrefixes: ['x-remote-extra-'],
  };
  const headers = {
    'x-remote-user': ['ann'],
    'x-remote-group': ['ops', 'staff'],
    'x-remote-extra-acme.com%2Fteam': ['maps'],
    authorization: ['Bearer x'],
  };
  expect(userIn(headers, proxy)).toEqual({
    name: 'ann',
    groups: ['ops', 'staff'],
    extra: { 'acme.com/team': ['maps'] },
  });
  expect(userIn({ 'x-remote-group': ['ops'] }, proxy)).toBeUndefined();
});

describe('a relay', () => {
  /** The answer of a port; empty where the connection is closed without one. */
  async function ask(port: number): Promise<string> {
    const socket = connect(port, '127.0.0.1');
    return await text(socket).catch(() => '');
  }
  const sayer = (word: string) => (socket: Socket) => void socket.end(word);

  test('answers while it leads, passes on while another does, and closes connections while nobody does', async () => {
    let leader: string | undefined;
    const open = (): ReturnType<typeof openRelay> =>
      openRelay({ port: 0, flag: '--x', leader: () => leader });
    await using one = await open();
    await using two = await open();
    expect(await ask(one.port)).toBe('');
    two.answerBy(sayer('two'));
    leader = `tcp://127.0.0.1:${two.port}`;
    expect(await ask(one.port)).toBe('two');
    leader = 'tcp://127.0.0.1:1';
    expect(await ask(one.port)).toBe('');
    one.answerBy(sayer('one'));
    expect(await ask(one.port)).toBe('one');
  });

  test('ends what it passed on when it leads itself', async () => {
    await using leader = await openRelay({ port: 0, flag: '--x', leader: () => undefined });
    leader.answerBy((socket) => void socket.write('hello'));
    await using relay = await openRelay({
      port: 0,
      flag: '--x',
      leader: () => `tcp://[::1]:${leader.port}`,
    });
    const socket = connect(relay.port, '127.0.0.1');
    await once(socket, 'data');
    const closed = once(socket, 'close');
    relay.answerBy(sayer('me'));
    await closed;
    expect(await ask(relay.port)).toBe('me');
  });

  test('says which flag to change when its port is in use', async () => {
    await using one = await openRelay({ port: 0, flag: '--x', leader: () => undefined });
    await expect(openRelay({ port: one.port, flag: '--x', leader: () => undefined })).rejects.toThrow(
      `cannot listen on port ${one.port}: it is in use: choose another with --x`,
    );
  });
});

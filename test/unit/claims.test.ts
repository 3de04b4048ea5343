/** Which of several pools may scale a Deployment, and which pools share a queue; as rows of events. */
import { describe, expect, test } from 'vitest';
import { adoptedDeployment } from '../../controller/act/adopted-deployment.ts';
import { autoscalerOf, createClaims, type Claims } from '../../controller/act/claims.ts';
import {
  applierOf,
  checkMaker,
  nothingWritten,
  overwritten,
  ownersOf,
  TargetTaken,
  type Applier,
} from '../../controller/act/other-writers.ts';
import type { Deployment, HorizontalPodAutoscaler } from '../../kube/wire.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';

interface Made {
  readonly minute?: number;
  readonly target?: string | undefined;
  readonly mode?: string;
  readonly queue?: string;
  readonly redis?: object;
  readonly going?: boolean;
  readonly namespace?: string;
  readonly priorities?: readonly string[];
  readonly crons?: readonly object[];
}

function pool(name: string, made: Made = {}): WorkerPool {
  const { minute = 0, target, mode = 'Active', queue = name, redis = { url: 'redis://r' }, going } = made;
  const { namespace = 'here', priorities, crons } = made;
  const creationTimestamp = `2026-01-01T00:0${minute}:00Z`;
  const metadata = { name, namespace, uid: `uid-${name}`, creationTimestamp };
  return {
    metadata: { ...metadata, ...(going && { deletionTimestamp: creationTimestamp }) },
    spec: {
      mode,
      queue,
      redis,
      priorities,
      crons,
      ...(target !== undefined && { scaleTargetRef: { name: target } }),
    },
  } as unknown as WorkerPool;
}

function noted(claims: Claims, ...pools: WorkerPool[]): void {
  for (const one of pools) claims.pool(`${one.metadata.namespace}/${one.metadata.name}`, one);
}

const hpa = (
  name: string,
  kind: string,
  of: string,
  labels?: Record<string, string>,
): HorizontalPodAutoscaler => ({
  metadata: { name, namespace: 'here', ...(labels && { labels }) },
  spec: { maxReplicas: 3, scaleTargetRef: { kind, name: of } },
});

describe('of pools that adopt one Deployment', () => {
  const older = pool('b', { target: 'web' });
  const younger = pool('a', { target: 'web', minute: 1 });
  const rows: [what: string, others: WorkerPool[], mine: WorkerPool, taken: string | undefined][] = [
    ['the oldest has it', [younger], older, undefined],
    ['a younger one has not', [older], younger, 'pool "b", which is older,'],
    ['of two of one second the first by name has it', [pool('c', { target: 'web' })], older, undefined],
    ['and the other one has not', [pool('a', { target: 'web' })], older, 'pool "a", which is older,'],
    ['of another Deployment nobody minds', [pool('b', { target: 'api' })], younger, undefined],
    [
      'of another namespace nobody minds',
      [pool('b', { target: 'web', namespace: 'there' })],
      younger,
      undefined,
    ],
    ['one that only looks takes nothing', [pool('b', { target: 'web', mode: 'DryRun' })], younger, undefined],
    [
      'one that only looks minds nobody',
      [older],
      pool('a', { target: 'web', minute: 1, mode: 'DryRun' }),
      undefined,
    ],
    [
      'one that is paused keeps it',
      [pool('b', { target: 'web', mode: 'Paused' })],
      younger,
      'pool "b", which is older,',
    ],
    ['one that is going has left it', [pool('b', { target: 'web', going: true })], younger, undefined],
  ];
  test.each(rows)('%s', (_, others, mine, taken) => {
    const claims = createClaims();
    noted(claims, ...others, mine);
    expect(claims.takenBy(mine)?.who).toBe(taken);
  });

  test('the next one is notified when the first is removed, or moves to another Deployment', () => {
    const claims = createClaims();
    noted(claims, older);
    expect(claims.pool('here/a', younger)).toEqual(['here/b']);
    expect(claims.pool('here/b', pool('b', { target: 'api' }))).toEqual(['here/a']);
    expect(claims.takenBy(younger)).toBeUndefined();
    noted(claims, older);
    expect(claims.takenBy(younger)).toBeDefined();
    expect(claims.pool('here/b', undefined)).toEqual(['here/a']);
    expect(claims.takenBy(younger)).toBeUndefined();
  });
});

describe('a HorizontalPodAutoscaler', () => {
  test('takes precedence over any pool, and a waiting pool is notified when it is removed', () => {
    const claims = createClaims();
    const adopting = pool('a', { target: 'web' });
    const owning = pool('web');
    noted(claims, adopting, owning);
    const kedas = hpa('keda-hpa-web', 'Deployment', 'web', { 'scaledobject.keda.sh/name': 'web' });
    expect(claims.autoscaler('here/keda-hpa-web', autoscalerOf(kedas))).toEqual(['here/web', 'here/a']);
    const who = 'HorizontalPodAutoscaler "keda-hpa-web" of ScaledObject "web"';
    const taken = { who, autoscaler: true };
    expect([adopting, owning].map((one) => claims.takenBy(one))).toEqual([taken, taken]);
    expect(claims.takenBy(pool('a', { target: 'web', mode: 'DryRun' }))).toBeUndefined();
    expect(claims.autoscaler('here/keda-hpa-web', undefined)).toEqual(['here/web', 'here/a']);
    expect([adopting, owning].map((one) => claims.takenBy(one))).toEqual([undefined, undefined]);
  });

  test('of a pool sets its floor, and is none of its Deployment', () => {
    const claims = createClaims();
    noted(claims, pool('web'));
    claims.autoscaler('here/web', autoscalerOf(hpa('web', 'WorkerPool', 'web')));
    expect(claims.takenBy(pool('web'))).toBeUndefined();
  });
});

describe('a queue', () => {
  const mine = pool('a', { queue: 'q' });
  const secret = { urlFrom: { secretKeyRef: { name: 's', key: 'k' } } };
  const rows: [what: string, others: WorkerPool[], mine: WorkerPool, shared: string | undefined][] = [
    ['of nobody else', [pool('b')], mine, undefined],
    ['of another pool', [pool('b', { queue: 'q' })], mine, '"b"'],
    ['of several', [pool('c', { queue: 'q' }), pool('b', { queue: 'q' })], mine, '"b" and 1 more'],
    [
      'of the same name in another Redis',
      [pool('b', { queue: 'q', redis: { url: 'redis://s' } })],
      mine,
      undefined,
    ],
    [
      'of a pool of another namespace',
      [pool('b', { queue: 'q', namespace: 'there' })],
      mine,
      '1 of other namespaces',
    ],
    [
      'behind Secrets of one name in two namespaces',
      [pool('b', { queue: 'q', redis: secret, namespace: 'there' })],
      pool('a', { queue: 'q', redis: secret }),
      undefined,
    ],
    ['of one that only looks', [pool('b', { queue: 'q', mode: 'DryRun' })], mine, undefined],
    [
      'of one that has the same Deployment, and only one of them scales it',
      [pool('b', { queue: 'q', target: 'web' })],
      pool('a', { queue: 'q', target: 'web', minute: 1 }),
      undefined,
    ],
  ];
  test.each(rows)('%s', (_, others, of, shared) => {
    const claims = createClaims();
    noted(claims, ...others, of);
    expect(claims.sharing(of)).toBe(shared);
  });
});

describe('the owners in the Deployment itself', () => {
  const written = { ...nothingWritten, replicas: 3 };
  const by = (managers: string[], replicas: number): Deployment =>
    ({
      metadata: {
        name: 'web',
        managedFields: managers.map((manager) => ({ manager, fieldsV1: { 'f:spec': { 'f:replicas': {} } } })),
      },
      spec: { replicas },
    }) as unknown as Deployment;
  const lost = (to: string) => ({ replicas: undefined, lost: { to, until: 60_000 } });
  const rows: [what: string, deployment: Deployment, record: object][] = [
    ['our own number, after all', by(['millrace-scaler'], 3), written],
    ['an autoscaler', by(['kube-controller-manager'], 5), lost('kube-controller-manager')],
    ['KEDA', by(['keda'], 0), lost('keda')],
    ['a person', by(['kubectl'], 5), nothingWritten],
    ['nobody', by([], 5), nothingWritten],
    ['two that agreed', by(['helm', 'kube-controller-manager'], 5), nothingWritten],
  ];
  test.each(rows)('%s', (_, deployment, record) => {
    expect(overwritten(adoptedDeployment(deployment), written, 0)).toEqual(record);
  });

  const managed = (...managedFields: object[]): Deployment => ({ metadata: { name: 'web', managedFields } });
  const replicas = { 'f:spec': { 'f:replicas': {} } };
  const time = '2026-01-01T00:00:00Z';
  const helm = { manager: 'helm', operation: 'Apply', time, fieldsV1: { 'f:spec': { 'f:template': {} } } };
  const helmSets = { ...helm, fieldsV1: replicas };
  const ours = { manager: 'millrace-scaler', operation: 'Apply', subresource: 'scale', fieldsV1: replicas };
  const was = { manager: 'helm', at: time, refused: true };

  test('replicas are claimed when we own them, with others or alone', () => {
    expect(ownersOf(managed(ours)).claimed).toBe(true);
    expect(ownersOf(managed(helmSets, ours)).claimed).toBe(true);
    expect(ownersOf(managed(helmSets)).claimed).toBe(false);
    expect(ownersOf(managed({ ...ours, fieldsV1: {} })).claimed).toBe(false);
    expect(ownersOf({ metadata: { name: 'web' } }).claimed).toBe(false);
  });

  const appliers: [
    what: string,
    deployment: Deployment,
    before: Applier | undefined,
    after: Applier | undefined,
  ][] = [
    ['nobody', managed(ours), undefined, undefined],
    ['somebody, beside us', managed(helmSets, ours), undefined, was],
    ['somebody without replicas', managed(helm, ours), undefined, undefined],
    ['somebody that we took them from', managed(helm, ours), was, was],
    ['applied since, without them', managed({ ...helm, time: '2026-01-01T00:00:01Z' }, ours), was, undefined],
    ['applies no more', managed(ours), was, undefined],
    ['a person with kubectl scale', managed({ ...helmSets, operation: 'Update' }), undefined, undefined],
  ];
  test.each(appliers)('who applies replicas: %s', (_, deployment, before, after) => {
    expect(applierOf(ownersOf(deployment), before)).toEqual(after);
  });

  test('who applies replicas: kubectl on the client’s side, as it notes itself', () => {
    const withNote = (manifest: string): Deployment => ({
      metadata: {
        name: 'web',
        annotations: { 'kubectl.kubernetes.io/last-applied-configuration': manifest },
      },
    });
    const kubectl = { manager: 'kubectl-client-side-apply', at: undefined, refused: false };
    expect(applierOf(ownersOf(withNote('{"spec":{"replicas":4}}')), undefined)).toEqual(kubectl);
    expect(applierOf(ownersOf(withNote('{"spec":{}}')), kubectl)).toBeUndefined();
    expect(
      applierOf(ownersOf(withNote('{"metadata":{"labels":{"a":"\\"replicas\\""}},"spec":{}}')), undefined),
    ).toBeUndefined();
    expect(applierOf(ownersOf(withNote('{"replicas"')), undefined)).toBeUndefined();
  });

  test('one that another pool made is that pool’s, and one that this pool made is not', () => {
    const made = (uid: string): Deployment => {
      const owner = { apiVersion: 'millrace.dev/v1alpha1', kind: 'WorkerPool', name: 'b', uid };
      return { metadata: { name: 'web', ownerReferences: [owner] } };
    };
    expect(() => checkMaker(pool('a'), made('uid-b'))).toThrow(TargetTaken);
    expect(() => checkMaker(pool('a'), made('uid-b'))).toThrow(
      'Deployment "web" is scaled by pool "b", which owns it, and this pool changes nothing',
    );
    expect(() => checkMaker(pool('a'), made('uid-a'))).not.toThrow();
  });
});

describe('what belongs to a queue', () => {
  test('priorities of its queue that another pool serves', () => {
    const claims = createClaims();
    const mine = pool('a', { queue: 'q', priorities: ['high', 'low'] });
    noted(
      claims,
      mine,
      pool('b', { queue: 'q', priorities: ['low'] }),
      pool('c', { queue: 'p', priorities: ['high'] }),
    );
    expect(claims.prioritiesBeside(mine)).toEqual(['low']);
    noted(claims, pool('b', { queue: 'q', priorities: ['low'], going: true }));
    expect(claims.prioritiesBeside(mine)).toEqual([]);
  });

  test('cron tasks of other pools, and which pool is older', () => {
    const claims = createClaims();
    const nightly = { name: 'nightly', schedule: '0 3 * * *', timeZone: 'UTC' };
    const mine = pool('a', { queue: 'q', minute: 2, crons: [nightly] });
    const older = pool('b', { queue: 'q', minute: 1, crons: [nightly] });
    const far = pool('c', { queue: 'q', minute: 3, namespace: 'there', crons: [nightly] });
    noted(claims, mine, older, far, pool('d', { queue: 'p', crons: [nightly] }));
    expect(claims.cronsBeside(mine)).toEqual([
      { cron: nightly, who: 'pool "b"', isOlder: true },
      { cron: nightly, who: 'a pool of another namespace', isOlder: false },
    ]);
  });

  test('of two pools of one name that were created in the same second, exactly one is older', () => {
    const crons = [{ name: 'daily', schedule: '0 3 * * *', task: '{}' }];
    const pools = ['a', 'b'].map((namespace) => pool('one', { queue: 'q', crons, namespace }));
    const claims = createClaims();
    noted(claims, ...pools);
    const older = pools.map((one) => claims.cronsBeside(one).map(({ isOlder }) => isOlder));
    expect(older).toEqual([[false], [true]]);
  });

  test('a pool whose queue cannot have the partitions that it asks for claims none, and is reconciled', () => {
    const claims = createClaims();
    const wrong = pool('one', { queue: 'a{b' });
    const asked = { ...wrong, spec: { ...wrong.spec, result: 'r', partitions: 3 } };
    expect(claims.pool('here/one', asked)).toEqual([]);
    expect([claims.sharing(asked), claims.cronsBeside(asked)]).toEqual([undefined, []]);
  });
});

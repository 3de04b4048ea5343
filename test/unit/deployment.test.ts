import { describe, expect, test } from 'vitest';
import { deploymentOf } from '../../controller/act/deployment.ts';
import { withDefaults, type WorkerPoolSpecInput } from '../../kube/defaults.ts';
import type { PodTemplateSpec } from '../../kube/wire.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';

type PodSpec = NonNullable<PodTemplateSpec['spec']>;

const container = { name: 'worker', image: 'worker:1' };

function pool(spec: Partial<WorkerPoolSpecInput> = {}): WorkerPool {
  return {
    apiVersion: 'millrace.dev/v1alpha1',
    kind: 'WorkerPool',
    metadata: { namespace: 'shop', name: 'tiles', uid: 'u-1' },
    spec: withDefaults({
      redis: { url: 'redis://redis:6379/0' },
      template: { spec: { containers: [container] } },
      ...spec,
    }),
  };
}

function environment(of: WorkerPool, index = 0): Record<string, unknown> {
  const env = deploymentOf(of, 30).spec.template.spec?.containers[index]?.env ?? [];
  return Object.fromEntries(env.map(({ name, value, valueFrom }) => [name, value ?? valueFrom]));
}

test('is the same for the same pool, and without replicas', () => {
  expect(deploymentOf(pool(), 30)).toEqual(deploymentOf(pool(), 30));
  expect(deploymentOf(pool(), 30).spec).not.toHaveProperty('replicas');
});

test('belongs to the pool and selects its own pods alone', () => {
  const { metadata, spec } = deploymentOf(pool(), 30);
  expect(metadata.ownerReferences).toMatchObject([
    { kind: 'WorkerPool', name: 'tiles', uid: 'u-1', controller: true },
  ]);
  expect(spec.selector.matchLabels).toEqual({ 'millrace.dev/pool': 'tiles' });
  expect(spec.template.metadata?.labels).toMatchObject(spec.selector.matchLabels ?? {});
});

test("keeps the user's labels and annotations, but not on our own labels", () => {
  const template = {
    metadata: { labels: { app: 'x', 'millrace.dev/pool': 'other' }, annotations: { a: 'b' } },
    spec: { containers: [container] },
  };
  const { metadata } = deploymentOf(pool({ template }), 30).spec.template;
  expect(metadata?.labels).toMatchObject({ app: 'x', 'millrace.dev/pool': 'tiles' });
  expect(metadata?.annotations).toEqual({ a: 'b' });
});

test('an encrypted connection is passed on, with or without its details; sentinels have a password of their own', () => {
  const from = (name: string): { secretKeyRef: { name: string; key: string } } => ({
    secretKeyRef: { name, key: 'password' },
  });
  const sentinel = { name: 'm', nodes: ['a:26379'], username: 'watch', passwordFrom: from('sentinels') };
  const told = environment(pool({ redis: { sentinel, passwordFrom: from('redis'), tls: {} } }));
  expect(told).toMatchObject({
    MILLRACE_REDIS_TLS: 'true',
    MILLRACE_REDIS_SENTINEL_USERNAME: 'watch',
    MILLRACE_REDIS_SENTINEL_PASSWORD_FILE: '/etc/millrace/redis/sentinel-password',
    MILLRACE_REDIS_PASSWORD_FILE: '/etc/millrace/redis/password',
  });
  expect(environment(pool())).not.toHaveProperty('MILLRACE_REDIS_TLS');
});

test('every container gets the address of the queue; variables of the user are kept', () => {
  const template = {
    spec: {
      terminationGracePeriodSeconds: 120,
      containers: [
        { ...container, env: [{ name: 'MILLRACE_QUEUE', value: 'mine' }] },
        { name: 'side', image: 's' },
      ],
    },
  };
  const of = pool({
    template,
    queue: 'jobs',
    concurrency: 4,
    retry: { attempts: 2, backoff: { initial: '1m' } },
    tasks: { maxSize: '1Mi' },
    results: { ttl: '24h', maxSize: '16Mi' },
    deadLetters: { maxAge: '1h' },
  });
  expect(environment(of)).toMatchObject({
    MILLRACE_QUEUE: 'mine',
    MILLRACE_RESULT: 'result',
    MILLRACE_CONCURRENCY: '4',
  });
  expect(environment(of, 1)).toMatchObject({
    MILLRACE_QUEUE: 'jobs',
    MILLRACE_GRACE: '117s',
    MILLRACE_ATTEMPTS: '2',
    MILLRACE_MAX_DELIVERIES: '5',
    MILLRACE_BACKOFF_INITIAL: '60000ms',
    MILLRACE_RESULT_TTL: '86400000ms',
    MILLRACE_TASK_MAX_SIZE: '1Mi',
    MILLRACE_RESULT_MAX_SIZE: '16Mi',
    MILLRACE_DEAD_MAX: '10000',
    MILLRACE_DEAD_MAX_AGE: '3600000ms',
    MILLRACE_POOL: 'shop/tiles',
  });
});

test('workers that find their number of slots: its bounds, and a fixed number for those of earlier versions', () => {
  const template = { spec: { containers: [container] } };
  const auto = pool({ template, concurrency: 'auto:4-64' });
  expect(environment(auto)).toMatchObject({
    MILLRACE_CONCURRENCY: '4',
    MILLRACE_AUTO_CONCURRENCY: 'auto:4-64',
  });
  // what they find changes no pod
  expect(deploymentOf({ ...auto, status: { slots: 12, slotsReason: 'because' } }, 30)).toEqual(
    deploymentOf(auto, 30),
  );
  expect(environment(pool({ template, concurrency: 4 }))).not.toHaveProperty('MILLRACE_AUTO_CONCURRENCY');
  const env = [{ name: 'MILLRACE_CONCURRENCY', value: '2' }];
  const own = pool({ template: { spec: { containers: [{ ...container, env }] } }, concurrency: 'auto' });
  expect(environment(own)).toMatchObject({ MILLRACE_CONCURRENCY: '2' });
  expect(environment(own)).not.toHaveProperty('MILLRACE_AUTO_CONCURRENCY');
});

const from = { secretKeyRef: { name: 'redis', key: 'url' } };
const podOf = (of: WorkerPool): PodSpec => {
  const { spec } = deploymentOf(of, 30).spec.template;
  if (!spec) throw new Error('the template has no spec');
  return spec;
};

test('secrets are named, never read into the Deployment, and are files of the worker alone', () => {
  const side = { name: 'side', image: 's' };
  const redis = { urlFrom: from, passwordFrom: { secretKeyRef: { name: 'login', key: 'pw' } } };
  const { containers, volumes } = podOf(
    pool({ redis, template: { spec: { containers: [container, side] } } }),
  );
  expect(volumes).toEqual([
    {
      name: 'millrace-redis',
      projected: {
        sources: [
          { secret: { name: 'redis', items: [{ key: 'url', path: 'url' }] } },
          { secret: { name: 'login', items: [{ key: 'pw', path: 'password' }] } },
        ],
      },
    },
  ]);
  const mounted = { name: 'millrace-redis', mountPath: '/etc/millrace/redis', readOnly: true };
  expect(containers.map(({ volumeMounts }) => volumeMounts)).toEqual([[mounted], undefined]);
  const named = containers.map(({ env }) => env?.filter(({ name }) => name.startsWith('MILLRACE_REDIS')));
  expect(named).toEqual([
    [
      { name: 'MILLRACE_REDIS_URL_FILE', value: '/etc/millrace/redis/url' },
      { name: 'MILLRACE_REDIS_PASSWORD_FILE', value: '/etc/millrace/redis/password' },
    ],
    [],
  ]);
  expect(JSON.stringify(containers)).not.toContain('secretKeyRef');
});

test('workerContainer names another container than the first; what it sets itself stays', () => {
  const env = [{ name: 'MILLRACE_REDIS_PASSWORD', value: 'own' }];
  const volumes = [{ name: 'millrace-redis', csi: { driver: 'secrets-store.csi.k8s.io' } }];
  const second = { name: 'second', image: 's', env };
  const template = { spec: { containers: [container, second], volumes } };
  const of = pool({ redis: { urlFrom: from, passwordFrom: from }, workerContainer: 'second', template });
  expect(environment(of)).not.toHaveProperty('MILLRACE_REDIS_URL_FILE');
  expect(environment(of, 1)).toMatchObject({
    MILLRACE_REDIS_PASSWORD: 'own',
    MILLRACE_REDIS_URL_FILE: '/etc/millrace/redis/url',
  });
  expect(environment(of, 1)).not.toHaveProperty('MILLRACE_REDIS_PASSWORD_FILE');
  expect(podOf(of).volumes).toEqual(volumes);
});

test('a password in the URL goes to the worker alone', () => {
  const template = { spec: { containers: [container, { name: 'side', image: 's' }] } };
  const of = pool({ redis: { url: 'redis://:pw@redis:6379' }, template });
  expect(environment(of)).toHaveProperty('MILLRACE_REDIS_URL', 'redis://:pw@redis:6379');
  expect(environment(of, 1)).not.toHaveProperty('MILLRACE_REDIS_URL');
});

describe('where the template is silent, pods are as the restricted level wants them', () => {
  const restricted = { allowPrivilegeEscalation: false, capabilities: { drop: ['ALL'] } };

  test('all of it, for init containers too, and no token of the API server', () => {
    const init = { name: 'fetch', image: 'i' };
    const pod = podOf(pool({ template: { spec: { containers: [container], initContainers: [init] } } }));
    expect(pod).toMatchObject({
      automountServiceAccountToken: false,
      securityContext: { runAsNonRoot: true, seccompProfile: { type: 'RuntimeDefault' } },
      containers: [{ securityContext: restricted }],
      initContainers: [{ securityContext: restricted }],
    });
  });

  test('fields of the template are kept', () => {
    const securityContext = { allowPrivilegeEscalation: true, capabilities: { add: ['NET_RAW'], drop: [] } };
    const said: PodSpec = {
      serviceAccountName: 'worker',
      securityContext: { runAsNonRoot: false, runAsUser: 7, seccompProfile: { type: 'Unconfined' } },
      containers: [{ ...container, securityContext }],
    };
    const pod = podOf(pool({ template: { spec: said } }));
    expect(pod).toMatchObject(said);
    expect(pod).not.toHaveProperty('automountServiceAccountToken');
  });

  test.each<[what: string, pod: Partial<PodSpec>, own: object, podSays: unknown, containerSays: object]>([
    ['the pod is root', { securityContext: { runAsUser: 0 } }, {}, undefined, restricted],
    ['a container is root', {}, { runAsUser: 0 }, true, { ...restricted, runAsUser: 0, runAsNonRoot: false }],
    ['it is privileged', {}, { privileged: true }, true, { privileged: true, runAsNonRoot: false }],
    [
      'it may mount',
      {},
      { capabilities: { add: ['SYS_ADMIN'] } },
      true,
      { capabilities: { drop: ['ALL'], add: ['SYS_ADMIN'] } },
    ],
  ])('nothing stands against it where %s', (_what, pod, own, podSays, containerSays) => {
    const template = { spec: { ...pod, containers: [{ ...container, securityContext: own }] } };
    const made = podOf(pool({ template }));
    expect(made.securityContext?.runAsNonRoot).toBe(podSays);
    expect(made.containers[0]?.securityContext).toEqual(containerSays);
  });

  test.each<[what: string, pod: Partial<PodSpec>, spec: Partial<WorkerPoolSpecInput>]>([
    ['podDefaults is None', {}, { podDefaults: 'None' }],
    ['the pod is for Windows', { os: { name: 'windows' } }, {}],
  ])('but for a pool where %s', (_what, pod, spec) => {
    const made = podOf(pool({ template: { spec: { ...pod, containers: [container] } }, ...spec }));
    expect(made).not.toHaveProperty('securityContext');
    expect(made.containers[0]).not.toHaveProperty('securityContext');
  });
});

test('the shortest grace period of a pod template is still a second', () => {
  const template = { spec: { terminationGracePeriodSeconds: 0, containers: [container] } };
  expect(environment(pool({ template }))).toMatchObject({ MILLRACE_GRACE: '1s' });
});

test('a pool that adopts has no Deployment of its own', () => {
  const adopting = pool();
  Reflect.deleteProperty(adopting.spec, 'template');
  expect(() => deploymentOf(adopting, 30)).toThrow('shop/tiles has no template');
});

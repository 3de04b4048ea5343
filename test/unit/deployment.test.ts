import { expect, test } from 'vitest';
import { deploymentOf } from '../../controller/deployment.ts';
import { withDefaults, type WorkerPoolSpecInput } from '../../kube/defaults.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';

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

test('an encrypted connection is said, whatever else there is to say of it; sentinels have a password of their own', () => {
  const from = (name: string): { secretKeyRef: { name: string; key: string } } => ({
    secretKeyRef: { name, key: 'password' },
  });
  const sentinel = { name: 'm', nodes: ['a:26379'], username: 'watch', passwordFrom: from('sentinels') };
  const told = environment(pool({ redis: { sentinel, passwordFrom: from('redis'), tls: {} } }));
  expect(told).toMatchObject({
    MILLRACE_REDIS_TLS: 'true',
    MILLRACE_REDIS_SENTINEL_USERNAME: 'watch',
    MILLRACE_REDIS_SENTINEL_PASSWORD: from('sentinels'),
    MILLRACE_REDIS_PASSWORD: from('redis'),
  });
  expect(environment(pool())).not.toHaveProperty('MILLRACE_REDIS_TLS');
});

test('every container is told where the queue is; what the user sets stays', () => {
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
    MILLRACE_RESULT_MAX_SIZE: '16Mi',
    MILLRACE_DEAD_MAX: '10000',
    MILLRACE_DEAD_MAX_AGE: '3600000ms',
    MILLRACE_POOL: 'shop/tiles',
  });
});

test('secrets are named, never read into the Deployment', () => {
  const from = { secretKeyRef: { name: 'redis', key: 'url' } };
  const of = pool({
    redis: { urlFrom: from, passwordFrom: { secretKeyRef: { name: 'redis', key: 'password' } } },
  });
  expect(environment(of)).toMatchObject({
    MILLRACE_REDIS_URL: from,
    MILLRACE_REDIS_PASSWORD: { secretKeyRef: { name: 'redis', key: 'password' } },
  });
});

test('the worst that a pod template may say is still a grace of a second', () => {
  const template = { spec: { terminationGracePeriodSeconds: 0, containers: [container] } };
  expect(environment(pool({ template }))).toMatchObject({ MILLRACE_GRACE: '1s' });
});

test('a pool that adopts has no Deployment of its own', () => {
  const adopting = pool();
  delete adopting.spec.template;
  expect(() => deploymentOf(adopting, 30)).toThrow('shop/tiles has no template');
});

/**
 * The chart's admission policies for authors of pools, on a real API server with real RBAC: somebody who may write pools and
 * little else cannot use a pool to get more.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { parse } from 'yaml';
import {
  container,
  ofSecret,
  pool,
  startAdmissionWorld,
  type AdmissionWorld,
} from '../support/admission-world.ts';
import { CHART } from '../support/helm.ts';
import type { Json } from '../support/objects.ts';
import { rightIs } from '../support/rights.ts';

let world: AdmissionWorld;
let namespace: string;
beforeAll(async () => {
  world = await startAdmissionWorld();
}, 600_000);
afterAll(() => world?.[Symbol.asyncDispose]());
beforeEach(async () => {
  namespace = await world.team();
});

/** The fields of `spec.redis` that can name a Secret, from the definition. */
function secretPlaces(): string[] {
  const { spec } = parse(readFileSync(join(CHART, 'files/workerpools.yaml'), 'utf8'));
  const found = (schema: Json | undefined, path: string): string[] => {
    const properties = (schema?.['properties'] ?? {}) as Record<string, Json>;
    if ('secretKeyRef' in properties) return [path];
    return Object.entries(properties).flatMap(([name, one]) =>
      found(one, path === '' ? name : `${path}.${name}`),
    );
  };
  return found(spec.versions[0].schema.openAPIV3Schema.properties.spec.properties.redis, '');
}

/** `{a: {b: value}}` of `a.b`. */
const nested = (path: string, value: unknown): Json =>
  path
    .split('.')
    .toReversed()
    .reduce<unknown>((inner, key) => ({ [key]: inner }), value) as Json;

/** The other fields that a pool needs with a Secret in this one. */
const around: Record<string, Json> = {
  passwordFrom: { url: 'redis://redis:6379' },
  'sentinel.passwordFrom': {},
  'tls.caFrom': { url: 'rediss://redis:6379' },
  'tls.certFrom': { url: 'rediss://redis:6379', tls: { keyFrom: ofSecret('mine') } },
  'tls.keyFrom': { url: 'rediss://redis:6379', tls: { certFrom: ofSecret('mine') } },
};

function redisWith(path: string, secret: string): Json {
  const [first = ''] = path.split('.');
  const before = around[path] ?? {};
  const made = nested(path, ofSecret(secret));
  const rest = path.startsWith('sentinel') ? { name: 'main', nodes: ['sentinel:26379'] } : {};
  const inner = { ...rest, ...(before[first] as Json), ...(made[first] as Json) };
  return { ...before, [first]: inner };
}

describe('the author of a pool', () => {
  test.each(secretPlaces())('must be allowed to get the Secret of redis.%s', async (path) => {
    const create = (what: string): Promise<string> =>
      world.server.kubectl(['-n', namespace, 'create', ...what.split(' ')]);
    await create('role mine --verb=get --resource=secrets --resource-name=mine');
    await create('rolebinding mine --role=mine --user=mallory');
    await create('deployment there --image=worker:1');
    await create('role there --verb=patch --resource=deployments.apps/scale --resource-name=there');
    await create('rolebinding there --role=there --user=mallory');
    const mine = { verb: 'get', resource: 'secrets', name: 'mine' };
    const there = {
      verb: 'patch',
      group: 'apps',
      resource: 'deployments',
      subresource: 'scale',
      name: 'there',
    };
    for (const right of [mine, there])
      await rightIs(world.transport, 'mallory', { namespace, ...right }, true);
    const target = { template: undefined, scaleTargetRef: { name: 'there' } };
    const named = (secret: string): Json => pool({ ...target, redis: redisWith(path, secret) });
    const refused = await world.apply('mallory', namespace, named('admin-token'));
    expect(refused).toContain(`spec.redis.${path} names the Secret "admin-token"`);
    expect(refused).toContain(`have somebody apply the pool who may get secrets in namespace "${namespace}"`);
    expect(await world.apply('mallory', namespace, named('mine'))).toMatch(/serverside-applied/);
    expect(await world.apply('mallory', namespace, named('admin-token'))).toContain('you may not get it');
    expect(await world.apply('ada', namespace, named('admin-token'))).toMatch(/serverside-applied/);
  });

  test('must be allowed to create Deployments for a template', async () => {
    const refused = await world.apply('mallory', namespace, pool({}));
    expect(refused).toContain('become a Deployment, which you may not create');
    expect(refused).toContain(`who may create deployments in namespace "${namespace}"`);
    expect(await world.apply('ada', namespace, pool({}))).toMatch(/serverside-applied/);
  });

  test('must be allowed to create Jobs for a pool that runs them', async () => {
    const jobs = pool({ runAs: 'Job' });
    const refused = await world.apply('mallory', namespace, jobs);
    expect(refused).toContain('spec.template becomes a Job for each task, and you may not create Jobs');
    expect(refused).toContain(`who may create jobs in namespace "${namespace}"`);
    expect(await world.apply('ada', namespace, jobs)).toMatch(/serverside-applied/);
  });

  test('must be allowed to scale the Deployment of scaleTargetRef', async () => {
    const adopting = pool({ template: undefined, scaleTargetRef: { name: 'api' } });
    const refused = await world.apply('mallory', namespace, adopting);
    expect(refused).toContain('names the Deployment "api", which you may not scale');
    expect(await world.apply('ada', namespace, adopting)).toMatch(/serverside-applied/);
  });

  test('is warned of a password in the URL', async () => {
    const said = await world.apply('ada', namespace, pool({ redis: { url: 'redis://:s3cret@redis:6379' } }));
    expect(said).toContain('spec.redis.url holds a password');
    expect(said).not.toContain('s3cret');
    expect(await world.as(undefined, ['get', 'wp', 'tiles', '-n', namespace, '-o', 'name'])).toContain(
      'tiles',
    );
  });
});

describe('a user with fewer rights, on a pool of an admin,', () => {
  const redisOfPool = { url: 'redis://redis:6379', passwordFrom: ofSecret('admin-token') };
  beforeEach(async () => {
    expect(await world.apply(undefined, namespace, pool({ redis: redisOfPool }))).toMatch(
      /serverside-applied/,
    );
    const adopting = { template: undefined, scaleTargetRef: { name: 'api' } };
    expect(await world.apply(undefined, namespace, pool(adopting, 'adopting'))).toMatch(/serverside-applied/);
  });
  const patch = (name: string, change: Json): Promise<string> =>
    world.as('mallory', ['patch', 'wp', name, '-n', namespace, '--type=merge', '-p', JSON.stringify(change)]);

  test.each([
    ['scale it', ['scale', 'wp', 'tiles', '--replicas=2'], /scaled/],
    ['annotate it', ['annotate', 'wp', 'tiles', 'millrace.dev/paused=true'], /annotated/],
    ['label it', ['label', 'wp', 'adopting', 'team=maps'], /labeled/],
    ['set a bound', ['patch', 'wp', 'tiles', '--type=merge', '-p', '{"spec":{"maxReplicas":20}}'], /patched/],
    ['delete it', ['delete', 'wp', 'adopting', '--wait=false'], /deleted/],
  ])('may still %s', async (_what, args, said) => {
    expect(await world.as('mallory', [...args, '-n', namespace])).toMatch(said);
  });

  test.each<[what: string, pool: string, change: Json, said: string]>([
    [
      'sends its password elsewhere',
      'tiles',
      { spec: { redis: { url: 'redis://evil:6379' } } },
      'names the Secret "admin-token"',
    ],
    ['names another Secret', 'tiles', { spec: { redis: { passwordFrom: ofSecret('b') } } }, 'the Secret "b"'],
    [
      'gives its workers another Redis',
      'adopting',
      { spec: { redis: { url: 'redis://evil:6379', passwordFrom: ofSecret('b') } } },
      'the Secret "b"',
    ],
    [
      'runs another image',
      'tiles',
      { spec: { template: { spec: { containers: [{ ...container, image: 'evil:1' }] } } } },
      'which you may not create',
    ],
    ['scales another Deployment', 'adopting', { spec: { scaleTargetRef: { name: 'b' } } }, 'Deployment "b"'],
  ])('is refused when it %s', async (_what, name, change, said) => {
    expect(await patch(name, change)).toContain(said);
  });
});

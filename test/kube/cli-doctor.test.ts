/** `millrace doctor`, `top --once` and the completion of pools' names against an API server. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DEPLOYMENTS, POOLS } from '../../kube/resources.ts';
import { millrace, type Ended } from '../support/millrace.ts';
import { poolManifest, startWorld, type World } from '../support/world.ts';

let world: World;
let namespace: string;
beforeAll(async () => {
  world = await startWorld();
  namespace = await world.namespace();
  await world.objects.create(POOLS, namespace, poolManifest('tiles', world.redis));
});
afterAll(() => world?.[Symbol.asyncDispose]());

function run(...args: string[]): Promise<Ended> {
  return millrace([...args], { env: { KUBECONFIG: world.server.kubeconfig } });
}

test('doctor: no controller, then one that has no rights and does not lead, and a pool in trouble', async () => {
  const first = await run('doctor', 'tiles', '-n', namespace);
  expect(first).toMatchObject({ code: 1, stderr: '' });
  expect(first.stdout).toMatch(
    /^ok {4}definition: Millrace \S+, the same as this program\nfail {2}controller: there is none\n {6}→ helm install/,
  );
  expect(first.stdout).toMatch(/^ok {4}your rights in test-1: sufficient/m);
  expect(first.stdout).toMatch(/^ok {4}pool test-1\/tiles: not in trouble\n/m);
  expect(first.stdout).toMatch(/^ok {4}queue tiles: 0 waiting/m);

  const labels = { 'app.kubernetes.io/component': 'controller', 'app.kubernetes.io/version': '0.0.9' };
  const container = { name: 'controller', image: 'x', args: ['--lease-name=millrace'] };
  const selector = { matchLabels: { a: 'b' } };
  const template = { metadata: { labels: { a: 'b' } }, spec: { containers: [container] } };
  const metadata = { name: 'millrace', labels };
  await world.objects.create(DEPLOYMENTS, namespace, { metadata, spec: { selector, template } });
  const since = { observedGeneration: 1, lastTransitionTime: '2026-01-01T00:00:00Z' };
  const away = { status: 'False', message: 'it is away', ...since };
  const condition = { type: 'Ready', reason: 'RedisUnreachable', ...away };
  // as the controller says it: once for people, and once for programs
  const conditions = [condition, { ...condition, type: 'RedisReachable', reason: 'Unreachable' }];
  await world.objects.patch(POOLS, { namespace, name: 'tiles' }, { status: { conditions } }, 'status');
  const { code, stdout } = await run('doctor', '-n', namespace);
  expect(code).toBe(1);
  expect(stdout).toMatch(/^fail {2}controller test-1\/millrace: none of 1 is ready\n/m);
  expect(stdout).toMatch(/^warn {2}controller test-1\/millrace: Millrace 0\.0\.9; this program is /m);
  expect(stdout).toMatch(/^fail {2}leader: there is no leader\n/m);
  expect(stdout).toMatch(/^fail {2}rights of test-1\/millrace: it may not list workerpools, /m);
  expect(stdout).toMatch(/^fail {2}pool test-1\/tiles: Ready RedisUnreachable: it is away\n/m);
  expect(stdout.match(/it is away/g)).toHaveLength(1);
});

test('top --once shows the pools, and their names are completed', async () => {
  const [once, names] = await Promise.all([
    run('top', '--once', '-n', namespace),
    run('complete', '--', 'inspect', '-n', namespace, 't'),
  ]);
  expect(once.stdout).toMatch(/^millrace top {2}namespace test-1 .*\nNAME\* .*\ntiles +- .*\n$/);
  expect(names).toEqual({ code: 0, stdout: 'tiles\n', stderr: '' });
});

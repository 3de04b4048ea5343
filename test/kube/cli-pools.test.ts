/** `millrace pools` and `millrace version` against an API server. */
import { afterAll, beforeAll, expect, test } from 'vitest';
import { DEPLOYMENTS, POOLS } from '../../kube/resources.ts';
import { version } from '../../runtime/version.ts';
import { millrace, MILLRACE, start, type Ended } from '../support/millrace.ts';
import { poolManifest, startWorld, type World } from '../support/world.ts';

let world: World;
let namespace: string;
let other: string;
beforeAll(async () => {
  world = await startWorld();
  namespace = await world.namespace();
  other = await world.namespace();
  const create = async (where: string, name: string, status: object): Promise<void> => {
    await world.objects.create(POOLS, where, poolManifest(name, world.redis));
    await world.objects.patch(POOLS, { namespace: where, name }, { status }, 'status');
  };
  const condition = {
    observedGeneration: 1,
    lastTransitionTime: '2026-01-01T00:00:00Z',
    message: 'so it is',
  };
  const counts = { inFlight: 1, replicas: 2, desiredReplicas: 3, delayed: 0, dead: 4 };
  await create(namespace, 'busy', {
    ...counts,
    waiting: 120,
    queue: 'busy',
    lastDecision: '2→3: 120 waiting',
    conditions: [{ type: 'Ready', status: 'True', reason: 'Scaling', ...condition }],
  });
  await create(namespace, 'blind', {
    conditions: [{ type: 'Ready', status: 'False', reason: 'RedisUnreachable', ...condition }],
  });
  await create(other, 'far', { waiting: 3 });
});
afterAll(() => world?.[Symbol.asyncDispose]());

function run(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  return millrace(args, { env: { KUBECONFIG: world.server.kubeconfig, ...env } });
}

test('a table in the manner of kubectl, sorted, of one namespace or of all', async () => {
  const [own, all, wide] = await Promise.all([
    run(['pools', '-n', namespace]),
    run(['pools', '-A', '--sort-by', 'waiting']),
    run(['pools', '-n', namespace, '-o', 'wide']),
  ]);
  expect(own.stdout).toMatch(
    /^NAME +QUEUE +WAITING +IN FLIGHT +REPLICAS +DESIRED +READY +REASON +AGE\nblind +blind +- +- +- +- +False +RedisUnreachable +\S+\nbusy +busy +120 +1 +2 +3 +True +Scaling +\S+\n$/,
  );
  const names = all.stdout.split('\n').map((line) => line.split(/ +/).slice(0, 2).join('/'));
  expect(names).toEqual(['NAMESPACE/NAME', `${namespace}/busy`, `${other}/far`, `${namespace}/blind`, '']);
  expect(wide.stdout).toMatch(/LAST DECISION\n.*\nbusy .* 4 +- +- +- +2→3: 120 waiting\n$/);
});

test('as JSON and YAML they are what the API server has', async () => {
  const [json, yaml, none] = await Promise.all([
    run(['pools', '-n', namespace, '-o', 'json', '--sort-by', 'waiting']),
    run(['pools', '-n', other, '-o', 'yaml']),
    run(['pools', '-n', 'default']),
  ]);
  expect(JSON.parse(json.stdout)).toMatchObject([
    { metadata: { name: 'busy' }, status: { waiting: 120 } },
    { metadata: { name: 'blind' } },
  ]);
  expect(yaml.stdout).toMatch(/^- apiVersion: millrace.dev\/v1alpha1\n/);
  expect(none).toEqual({ code: 0, stdout: '', stderr: 'there are no pools in namespace "default"\n' });
});

test('--watch prints each change until a signal', async () => {
  const env = { KUBECONFIG: world.server.kubeconfig };
  await using watching = start(MILLRACE, ['pools', '--watch', '-n', other], { env });
  await watching.prints(/^NAME .*\nfar +far +3 /);
  await world.objects.patch(POOLS, { namespace: other, name: 'far' }, { status: { waiting: 4 } }, 'status');
  await watching.prints(/\nfar +far +4 .*\n$/);
  watching.child.kill('SIGINT');
  expect(await watching.ended).toMatchObject({ code: 0, stderr: '' });
});

test('version: of the program, and on request of what is installed', async () => {
  const name = 'millrace';
  const labels = { 'app.kubernetes.io/component': 'controller', 'app.kubernetes.io/version': '0.0.9' };
  const container = { name: 'controller', image: 'x', args: ['--lease-name=millrace'] };
  const selector = { matchLabels: { a: 'b' } };
  const template = { metadata: { labels: { a: 'b' } }, spec: { containers: [container] } };
  await world.objects.create(DEPLOYMENTS, other, {
    metadata: { name, labels },
    spec: { selector, template },
  });
  const [plain, cluster, json, away] = await Promise.all([
    run(['version'], { KUBECONFIG: '/nowhere' }),
    run(['version', '--cluster']),
    run(['version', '-o', 'json']),
    run(['version', '-o', 'json', '--kubeconfig', '/nowhere']),
  ]);
  expect(plain).toEqual({ code: 0, stdout: `${version}\n`, stderr: '' });
  expect(cluster.stdout).toBe(
    `millrace     ${version}\ndefinition   ${version}\ncontroller   0.0.9  ${other}/millrace\n`,
  );
  expect(JSON.parse(json.stdout)).toEqual({
    client: version,
    definition: version,
    controllers: [{ namespace: other, name, version: '0.0.9' }],
  });
  expect(JSON.parse(away.stdout)).toEqual({
    client: version,
    trouble: expect.stringContaining('/nowhere cannot be read') as unknown,
  });
  expect(away.code).toBe(0);
});

/**
 * The chart on a real API server: installed, seen by RBAC, upgraded and uninstalled, without the definition (and with it
 * everybody's pools) being removed too.
 */
import { execFile } from 'node:child_process';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { beforeAll, expect, test } from 'vitest';
import { startApiServer } from '../support/apiserver.ts';
import { eventually } from '../support/eventually.ts';
import { CHART, findHelm } from '../support/helm.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');

let helmPath: string;
beforeAll(async () => {
  helmPath = await findHelm();
}, 600_000);

test('install, use, upgrade and uninstall', async () => {
  await using server = await startApiServer();
  await using home = await mkdtempDisposable(join(tmpdir(), 'millrace-helm-'));
  const env = { ...process.env, KUBECONFIG: server.kubeconfig, HELM_CACHE_HOME: home.path };
  const here = (...args: string[]): Promise<unknown> => run(helmPath, ['-n', 'home', ...args], { env });
  await server.kubectl(['create', 'namespace', 'home']);
  const values = 'redis.enabled=true,replicas=2,networkPolicy.enabled=true,externalMetrics.enabled=true';
  await here('install', 'try', CHART, '--set', values);
  await server.kubectl(['wait', '--for=condition=Established', 'crd/workerpools.millrace.dev']);

  const can = (who: string, ...what: string[]): Promise<string> =>
    server
      .kubectl(['auth', 'can-i', '-n', 'home', '--as', who, ...what])
      .catch((error: Error) => error.message);
  const controller = 'system:serviceaccount:home:try-millrace';
  // some time after the roles were stored
  await eventually(async () => {
    expect(await can(controller, 'patch', 'deployments.apps', '--subresource=scale')).toMatch(/^yes/);
    expect(await can(controller, 'update', 'leases.coordination.k8s.io/try-millrace')).toMatch(/^yes/);
  });
  expect(await can(controller, 'list', 'secrets')).not.toMatch(/^yes/);
  expect(await can(controller, 'delete', 'pods')).not.toMatch(/^yes/);

  await server.kubectl(['apply', '-n', 'home', '-f', join(root, 'manifests/samples/pool.yaml')]);
  const password = (): Promise<string> =>
    server.kubectl(['get', '-n', 'home', 'secret', 'try-millrace-redis', '-o', 'jsonpath={.data.password}']);
  const certificate = (): Promise<string> =>
    server.kubectl([
      'get',
      '-n',
      'home',
      'secret',
      'try-millrace-external-metrics',
      '-o',
      'jsonpath={.data.tls\\.crt}',
    ]);
  const made = await certificate();
  const generated = await password();
  expect(Buffer.from(generated, 'base64').toString()).toMatch(/^[A-Za-z0-9]{32}$/);
  await here('upgrade', 'try', CHART, '--reuse-values', '--set', 'logLevel=debug');
  // or pods would lose their Redis at each upgrade
  expect(await password()).toBe(generated);
  // or the API server would trust another one than the pods of the old ReplicaSet have
  expect(await certificate()).toBe(made);
  await here('uninstall', 'try');
  expect(await server.kubectl(['get', '-n', 'home', 'wp', '-o', 'name'])).toContain('/upper');
  // a second release of the same name takes over the definition
  await here('install', 'try', CHART);
  await here('uninstall', 'try');
  await server.kubectl(['apply', '--warnings-as-errors', '-f', join(root, 'manifests/install.yaml')]);
});

/**
 * An API server with the chart's roles and admission policies, and two users: mallory may write pools and read nothing else,
 * ada has what the cluster's role `edit` allows.
 */
import { expect } from 'vitest';
import { fromKubeconfig } from '../../kube/kubeconfig.ts';
import { createTransport, type Transport } from '../../kube/transport.ts';
import { startApiServer, type ApiServer } from './apiserver.ts';
import { eventually } from './eventually.ts';
import { installChart } from './helm.ts';
import { connectObjects, type Json, type Objects } from './objects.ts';
import { rightIs } from './rights.ts';

/** The namespace of the release, and the user name of its controller. */
export const HOME = 'millrace-system';
export const CONTROLLER = `system:serviceaccount:${HOME}:millrace`;
export const SOON = { everyMs: 100 };

export const container = { name: 'worker', image: 'worker:1' };
export const ofSecret = (name: string): Json => ({ secretKeyRef: { name, key: 'value' } });

export function pool(spec: Json, name = 'tiles'): Json {
  const template = { spec: { containers: [container] } };
  const whole = { redis: { url: 'redis://redis:6379' }, template, ...spec };
  return { apiVersion: 'millrace.dev/v1alpha1', kind: 'WorkerPool', metadata: { name }, spec: whole };
}

export function deployment(name: string, more: Json = {}): Json {
  const labels = { app: name };
  const spec = {
    selector: { matchLabels: labels },
    template: { metadata: { labels }, spec: { containers: [container] } },
  };
  return { apiVersion: 'apps/v1', kind: 'Deployment', metadata: { name, ...more }, spec };
}

export interface AdmissionWorld extends AsyncDisposable {
  readonly server: ApiServer;
  /** As admin. */
  readonly transport: Transport;
  readonly objects: Objects;
  /** Creates a namespace with the rights of mallory and ada. */
  team(): Promise<string>;
  /** The output of kubectl as `who` (an admin if `undefined`), with refusals and warnings. */
  as(who: string | undefined, args: string[], input?: Json): Promise<string>;
  /** Applies the object. The output has warnings as errors, for kubectl's exit code; the object is stored all the same. */
  apply(who: string | undefined, where: string, object: Json): Promise<string>;
  /** The output of a dry run of `kubectl <verb>`. */
  tryTo(who: string, verb: string, where: string, object: Json): Promise<string>;
}

export async function startAdmissionWorld(): Promise<AdmissionWorld> {
  await using stack = new AsyncDisposableStack();
  const server = stack.use(await startApiServer());
  const transport = stack.use(createTransport(fromKubeconfig(server.kubeconfig)));
  await installChart(server, { name: 'millrace', namespace: HOME });
  await server.kubectl(['wait', '--for=condition=Established', 'crd/workerpools.millrace.dev']);

  const as: AdmissionWorld['as'] = async (who, args, input) => {
    const whole = [...args, ...(who === undefined ? [] : ['--as', who]), ...(input ? ['-f', '-'] : [])];
    const options = input ? { input: JSON.stringify(input) } : {};
    return await server.kubectl(whole, options).catch((error: Error) => error.message);
  };
  const apply: AdmissionWorld['apply'] = (who, where, object) =>
    as(who, ['apply', '--server-side', '--force-conflicts', '--warnings-as-errors', '-n', where], object);
  const tryTo: AdmissionWorld['tryTo'] = (who, verb, where, object) =>
    as(who, [verb, '--dry-run=server', '-n', where], object);

  // policies are compiled some time after they are stored
  const trial = await createTeam(server, transport);
  const adopting = pool({ template: undefined, scaleTargetRef: { name: 'none' } });
  await eventually(async () => {
    expect(await tryTo('mallory', 'create', trial, adopting)).toMatch(/you may not scale/);
    expect(await tryTo(CONTROLLER, 'create', trial, deployment('stray'))).toMatch(/owns/);
    expect(await apply(undefined, trial, pool({ redis: { url: 'redis://:a@redis' } }))).toMatch(/Warning/);
  }, SOON);

  const owned = stack.move();
  return {
    server,
    transport,
    objects: connectObjects(transport),
    team: () => createTeam(server, transport),
    as,
    apply,
    tryTo,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

async function createTeam(server: ApiServer, transport: Transport): Promise<string> {
  const name = await server.namespace('team');
  const grant = (what: string): Promise<string> =>
    server.kubectl(['-n', name, 'create', ...what.split(' '), '--save-config=false']);
  await grant('role pools --verb=* --resource=workerpools.millrace.dev,workerpools.millrace.dev/scale');
  await grant('rolebinding pools --role=pools --user=mallory');
  await grant('rolebinding edit --clusterrole=edit --user=ada');
  // the controller that aggregates ClusterRoles does not run here
  await grant('rolebinding pools-edit --role=pools --user=ada');
  await grant(
    'role more --verb=get,create,patch --resource=secrets,deployments.apps,deployments.apps/scale,jobs.batch',
  );
  await grant('rolebinding more --role=more --user=ada');
  const [pools, secrets] = [{ group: 'millrace.dev', resource: 'workerpools' }, { resource: 'secrets' }];
  await rightIs(transport, 'mallory', { verb: 'create', namespace: name, ...pools }, true);
  await rightIs(transport, 'ada', { verb: 'create', namespace: name, ...pools }, true);
  await rightIs(transport, 'ada', { verb: 'get', namespace: name, ...secrets }, true);
  return name;
}

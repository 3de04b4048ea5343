/** Checks of a cluster: the CRD, a controller that leads and has its permissions, and healthy pools. */
import { KubeError } from '../../kube/errors.ts';
import { readObject } from '../../kube/read.ts';
import { LEASES } from '../../kube/resources.ts';
import type { Transport } from '../../kube/transport.ts';
import { keyOf } from '../../kube/watch.ts';
import { version } from '../../runtime/version.ts';
import { explained, openCluster, readPoolOf, type Cluster } from '../cluster/cluster.ts';
import { checkAutoscalers } from './autoscalers.ts';
import { fail, ok, warn, type Finding, type DoctorFlags } from './finding.ts';
import { readControllers, readDefinition, type InstalledController } from '../cluster/installation.ts';
import type { CommandLog } from '../terminal/command-log.ts';
import { describeTroubles } from '../commands/pool-rows.ts';
import { readPools } from '../commands/pools.ts';
import { ofController, ofYou, refusedTo } from './rights.ts';

const INSTALL = 'helm install millrace charts/millrace, or kubectl apply -f manifests/install.yaml';

/** An error of the cluster is a finding; rejects only if there is no cluster to connect to. */
export async function checkCluster(flags: DoctorFlags, log: CommandLog): Promise<Finding[]> {
  using cluster = openCluster(flags);
  const { transport } = cluster;
  const first = await looked(log, 'definition', () => definition(transport));
  if (first.level === 'fail') return [first];
  const found = [first];
  try {
    const controllers = await readControllers(transport);
    for (const controller of controllers) found.push(...(await ofOne(transport, controller, log)));
    if (controllers.length === 0) found.push(fail('controller', 'there is none', INSTALL));
  } catch (error) {
    found.push(unknown(log, 'controller', error));
  }
  found.push(await looked(log, 'your rights', () => yourRights(cluster)));
  found.push(...(await pools(cluster, flags, log)));
  found.push(...(await autoscalers(cluster, flags, log)));
  return found;
}

async function definition(transport: Transport): Promise<Finding> {
  const about = 'definition';
  const found = await readDefinition(transport);
  if (!found) return fail(about, 'the cluster does not know WorkerPools', INSTALL);
  const upgrade = 'kubectl apply --server-side -f manifests/crd.yaml, from the newer of the two';
  if (!found.served)
    return fail(about, 'the cluster has another version of WorkerPools than this program', upgrade);
  if (found.version === version) return ok(about, `Millrace ${version}, the same as this program`);
  return warn(about, `Millrace ${found.version ?? 'unknown'}; this program is ${version}`, upgrade);
}

async function ofOne(
  transport: Transport,
  controller: InstalledController,
  log: CommandLog,
): Promise<Finding[]> {
  const { namespace, name, ready, wanted, version: of } = controller;
  const about = `controller ${namespace}/${name}`;
  const where = `kubectl -n ${namespace} describe deployment ${name}, and its log`;
  const found: Finding[] = [];
  if (wanted === 0)
    found.push(
      fail(about, 'it is scaled to 0', `kubectl -n ${namespace} scale deployment ${name} --replicas 1`),
    );
  else if (ready === 0) found.push(fail(about, `none of ${wanted} is ready`, where));
  else if (ready < wanted) found.push(warn(about, `${ready} of ${wanted} are ready`, where));
  else found.push(ok(about, `${of ?? 'unknown version'}, ${ready} of ${wanted} ready`));
  if (of !== undefined && of !== version)
    found.push(warn(about, `Millrace ${of}; this program is ${version}`, 'upgrade the older one'));
  found.push(await looked(log, 'leader', () => leader(transport, controller)));
  found.push(
    await looked(log, `rights of ${namespace}/${name}`, () => controllerRights(transport, controller)),
  );
  return found;
}

async function leader(transport: Transport, { namespace, lease }: InstalledController): Promise<Finding> {
  const found = await readObject(transport, LEASES, { namespace, name: lease });
  const { holderIdentity, renewTime, leaseDurationSeconds = 15 } = found?.spec ?? {};
  const todo = `check the controller's log: kubectl -n ${namespace} logs -l app.kubernetes.io/component=controller`;
  if (!holderIdentity || !renewTime) return fail('leader', 'there is no leader', todo);
  const agoMs = Date.now() - Date.parse(renewTime);
  // a local clock that is off must not make it appear dead
  if (agoMs > 4 * leaseDurationSeconds * 1_000)
    return fail(
      'leader',
      `${holderIdentity.split('_')[0]} led until ${Math.round(agoMs / 1_000)} s ago`,
      todo,
    );
  return ok('leader', holderIdentity.split('_')[0] ?? holderIdentity);
}

async function controllerRights(transport: Transport, controller: InstalledController): Promise<Finding> {
  const about = `rights of ${controller.namespace}/${controller.name}`;
  const user = `system:serviceaccount:${controller.namespace}:${controller.serviceAccount}`;
  const places = controller.namespaces.length > 0 ? controller.namespaces : [undefined];
  const refused: string[] = [];
  for (const namespace of places)
    refused.push(...(await refusedTo(transport, user, ofController, namespace)));
  if (refused.length === 0) return ok(about, 'complete');
  return fail(about, `it may not ${refused.join(', ')}`, 'reinstall the chart with rbac.create=true');
}

async function yourRights({ transport, namespace }: Cluster): Promise<Finding> {
  const about = `your rights in ${namespace}`;
  const refused = await refusedTo(transport, undefined, ofYou, namespace);
  if (refused.length === 0) return ok(about, 'sufficient to read pools and to reach their Redis');
  const todo = 'ask your administrator, or connect to Redis directly with --redis';
  return warn(about, `you may not ${refused.join(', ')}`, todo);
}

async function pools(cluster: Cluster, flags: DoctorFlags, log: CommandLog): Promise<Finding[]> {
  try {
    const all =
      flags.pool === undefined
        ? await readPools(cluster, flags.allNamespaces ? undefined : cluster.namespace)
        : [await readPoolOf(cluster, flags.pool)];
    const found = all.flatMap((pool): Finding[] => {
      const about = `pool ${keyOf(pool)}`;
      return describeTroubles(pool).map(({ bad, text }) =>
        (bad ? fail : warn)(
          about,
          text,
          `kubectl -n ${pool.metadata.namespace} describe wp ${pool.metadata.name}`,
        ),
      );
    });
    if (found.length > 0) return found;
    if (flags.pool !== undefined) return all.map((pool) => ok(`pool ${keyOf(pool)}`, 'not in trouble'));
    const place = flags.allNamespaces ? 'in the cluster' : `in ${cluster.namespace}`;
    return [ok('pools', `${all.length} ${place}, none in trouble`)];
  } catch (error) {
    return [unknown(log, 'pools', error)];
  }
}

async function autoscalers(cluster: Cluster, flags: DoctorFlags, log: CommandLog): Promise<Finding[]> {
  try {
    return await checkAutoscalers(cluster, flags.allNamespaces ? undefined : cluster.namespace);
  } catch (error) {
    return [unknown(log, 'autoscalers', error)];
  }
}

async function looked(log: CommandLog, about: string, look: () => Promise<Finding>): Promise<Finding> {
  try {
    return await look();
  } catch (error) {
    return unknown(log, about, error);
  }
}

/** Missing permission to read something is no failure of it. */
function unknown(log: CommandLog, about: string, error: unknown): Finding {
  log.debug(error, `${about} could not be checked`);
  const { message } = explained(error) as Error;
  if (error instanceof KubeError && error.status === 403)
    return warn(about, 'not permitted to read it', `ask for permission: ${message}`);
  return fail(about, message, '');
}

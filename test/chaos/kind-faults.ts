/** Does to the pods of a pool what the plan says, as people, nodes and rollouts do. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Release } from '../support/kind-install.ts';
import { SYSTEM } from '../support/kind-install.ts';
import { signalContainer } from '../support/kind-node.ts';
import type { DoneFault } from './check.ts';
import type { KindFault } from './kind-plan.ts';

export const POOL = 'chaos';

interface PodList {
  readonly items: readonly {
    readonly metadata: { readonly name: string; readonly deletionTimestamp?: string };
    readonly status: {
      readonly phase: string;
      readonly containerStatuses?: readonly { readonly ready: boolean }[];
    };
  }[];
}

/** Pods whose worker is up and that nobody has deleted. */
export async function readyPods({ get }: Pick<Release, 'get'>): Promise<string[]> {
  const { items } = await get<PodList>('pods', '--selector', `millrace.dev/pool=${POOL}`);
  return items
    .filter(({ metadata, status }) => !metadata.deletionTimestamp && status.containerStatuses?.[0]?.ready)
    .map(({ metadata }) => metadata.name);
}

/** Resolves when it is done, with the workers that were killed without a warning. */
export async function strikeKind(release: Release, fault: KindFault): Promise<DoneFault> {
  const from = Date.now();
  const workers = await act(release, fault);
  return { kind: fault.kind, what: `${fault.kind} ${workers.join()}`, from, to: Date.now(), workers };
}

async function act(release: Release, fault: KindFault): Promise<string[]> {
  const { cluster, namespace } = release;
  const kubectl = (args: readonly string[], input?: string): Promise<string> =>
    cluster.kubectl([...args], input === undefined ? {} : { input });
  const patch = (change: object): Promise<string> => {
    const text = JSON.stringify({ spec: change });
    return kubectl(['patch', 'workerpool', POOL, '-n', namespace, '--type', 'merge', '--patch', text]);
  };
  switch (fault.kind) {
    case 'rollout':
      await patch({ template: { metadata: { annotations: { rollout: String(Date.now()) } } } });
      break;
    case 'scale in':
      await patch({ maxReplicas: 1 });
      await delay(fault.ms);
      await patch({ maxReplicas: MAX_REPLICAS });
      break;
    case 'delete controller': {
      const selector = ['--selector', 'app.kubernetes.io/component=controller', '-n', SYSTEM];
      await kubectl(['delete', 'pods', ...selector, '--force', '--grace-period=0']);
      break;
    }
    case 'delete pod':
    case 'delete pod by force':
    case 'evict pod':
    case 'kill container': {
      const pods = await readyPods(release);
      const pod = pods[Math.floor(fault.who * pods.length)];
      if (pod !== undefined) return strikePod(release, fault.kind, pod, kubectl);
    }
  }
  return [];
}

export const MAX_REPLICAS = 4;

/** A pod that has gone meanwhile is as good as one that was struck. */
async function strikePod(
  release: Release,
  kind: 'delete pod' | 'delete pod by force' | 'evict pod' | 'kill container',
  pod: string,
  kubectl: (args: readonly string[], input?: string) => Promise<string>,
): Promise<string[]> {
  const { namespace } = release;
  const where = ['pod', pod, '-n', namespace];
  const gone = ['--ignore-not-found', '--wait=false'];
  if (kind === 'delete pod') await kubectl(['delete', ...where, ...gone]);
  else if (kind === 'delete pod by force')
    await kubectl(['delete', ...where, ...gone, '--force', '--grace-period=0']);
  else if (kind === 'evict pod') {
    const eviction = { apiVersion: 'policy/v1', kind: 'Eviction', metadata: { name: pod, namespace } };
    const path = `/api/v1/namespaces/${namespace}/pods/${pod}/eviction`;
    await kubectl(['create', '--raw', path, '-f', '-'], JSON.stringify(eviction)).catch(ifGone);
  } else await signalContainer(release, { namespace, pod }, 'KILL').catch(ifGone);
  return kind === 'delete pod by force' || kind === 'kill container' ? [pod] : [];
}

function ifGone(error: Error): void {
  if (!/not ?found|no container that runs|no process of/i.test(error.message)) throw error;
}

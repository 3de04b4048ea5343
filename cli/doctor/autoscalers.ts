/**
 * HorizontalPodAutoscalers that scale by what pools see. One whose Deployment it did not put to sleep itself never wakes it, and
 * looks as if it had nothing to do.
 */
import { KubeError } from '../../kube/errors.ts';
import { readAll } from '../../kube/read.ts';
import { AUTOSCALERS } from '../../kube/resources.ts';
import type { HorizontalPodAutoscaler } from '../../kube/wire.ts';
import { sentence } from '../../kube/conditions.ts';
import type { Cluster } from '../cluster/cluster.ts';
import { ok, warn, type Finding } from './finding.ts';

/** Of the metrics that the controller serves. KEDA puts the number of a trigger before them, and wakes Deployments itself. */
const OURS = /^millrace_/;

/** None for someone who may not list them, who has none to look after. `namespace`: all without it. */
export async function checkAutoscalers(
  { transport }: Cluster,
  namespace: string | undefined,
): Promise<Finding[]> {
  try {
    const all = await readAll<HorizontalPodAutoscaler>(transport, AUTOSCALERS, { namespace });
    return all.filter(isOurs).map(findingOf);
  } catch (error) {
    if (error instanceof KubeError && error.status === 403) return [];
    throw error;
  }
}

function isOurs({ spec }: HorizontalPodAutoscaler): boolean {
  return (spec?.metrics ?? []).some(({ external }) => OURS.test(external?.metric.name ?? ''));
}

function findingOf({ metadata, spec, status }: HorizontalPodAutoscaler): Finding {
  const about = `autoscaler ${metadata.namespace}/${metadata.name}`;
  const { name, kind } = spec?.scaleTargetRef ?? { name: '', kind: '' };
  const active = status?.conditions?.find(({ type }) => type === 'ScalingActive');
  if (active?.status !== 'False') return ok(about, `it scales ${kind} "${name}" by what a pool sees`);
  if (active.reason !== 'ScalingDisabled')
    return warn(
      about,
      sentence(active.message ?? active.reason ?? 'it does not scale'),
      'until then it keeps the replicas that there are',
    );
  return warn(
    about,
    `${kind} "${name}" was not scaled to 0 by it, and it never wakes one that was not`,
    `kubectl -n ${metadata.namespace} scale ${kind.toLowerCase()} ${name} --replicas 1, once`,
  );
}

/**
 * The cached part of a pool's own Deployment: the fields that are read, and a fingerprint of everything that determines its pods.
 * With thousands of pools, the rest would be most of the controller's memory.
 */
import { hash } from 'node:crypto';
import type { Deployment, KubeObject } from '../../kube/wire.ts';
import type { Replicas } from './target.ts';

type Spec = NonNullable<Deployment['spec']>;
type Status = NonNullable<Deployment['status']>;

/** What it takes to scale a Deployment, whoever it belongs to. */
export interface ScaledDeployment extends KubeObject {
  readonly replicas: number | undefined;
  readonly selector: Spec['selector'];
  /** Of its conditions, only failures. */
  readonly status: Pick<
    Status,
    | 'replicas'
    | 'readyReplicas'
    | 'updatedReplicas'
    | 'terminatingReplicas'
    | 'observedGeneration'
    | 'conditions'
  >;
}

/** A pool's own Deployment. */
export interface KnownDeployment extends ScaledDeployment {
  /** The termination grace period of its pods, s. */
  readonly graceS: number | undefined;
  /** Fingerprint of its spec without the replicas, which changes whenever its pods do. */
  readonly made: string;
}

export function knownDeployment(deployment: Deployment): KnownDeployment {
  const { replicas: _, ...made } = deployment.spec ?? { selector: {}, template: {} };
  const { labels } = deployment.metadata;
  const scaled = scaledPart(deployment);
  return {
    ...scaled,
    metadata: { ...scaled.metadata, ...(labels && { labels }) },
    graceS: made.template.spec?.terminationGracePeriodSeconds,
    made: fingerprint(made),
  };
}

export function scaledPart({ metadata, spec, status = {} }: Deployment): ScaledDeployment {
  const { namespace, name, uid, resourceVersion, generation, ownerReferences } = metadata;
  const failures = status.conditions?.filter(isFailure);
  return {
    metadata: {
      name,
      ...(namespace && { namespace }),
      ...(uid && { uid }),
      ...(resourceVersion && { resourceVersion }),
      ...(generation !== undefined && { generation }),
      ...(ownerReferences && { ownerReferences }),
    },
    replicas: spec?.replicas,
    selector: spec?.selector ?? {},
    status: {
      ...(status.replicas !== undefined && { replicas: status.replicas }),
      ...(status.readyReplicas !== undefined && { readyReplicas: status.readyReplicas }),
      ...(status.updatedReplicas !== undefined && { updatedReplicas: status.updatedReplicas }),
      ...(status.terminatingReplicas !== undefined && { terminatingReplicas: status.terminatingReplicas }),
      ...(status.observedGeneration !== undefined && { observedGeneration: status.observedGeneration }),
      ...(failures && failures.length > 0 && { conditions: failures }),
    },
  };
}

/** A hash of 16 characters, for JSON whose keys always have the same order, as from the API server. */
export function fingerprint(value: unknown): string {
  // in one call: a Hash would hold off-heap memory until it is garbage-collected; and the slice of a text would keep all of it
  return hash('sha256', JSON.stringify(value), 'buffer').toString('base64url', 0, 12);
}

/** The requested replicas, and those that its status counts. */
export function countsOf({
  replicas,
  status,
}: ScaledDeployment): Pick<Replicas, 'wanted' | 'existing' | 'ready' | 'rollingOut'> {
  return {
    wanted: replicas ?? 1,
    existing: status.replicas ?? 0,
    ready: status.readyReplicas ?? 0,
    rollingOut: (status.updatedReplicas ?? 0) < (status.replicas ?? 0),
  };
}

/** Whether pods of an earlier template may be there: also while the last change was not counted yet. */
export function isRollingOut(deployment: ScaledDeployment): boolean {
  const { metadata, status } = deployment;
  const isBehind = (status.observedGeneration ?? Infinity) < (metadata.generation ?? 0);
  return isBehind || countsOf(deployment).rollingOut;
}

/** Labels are compared separately, as the fingerprint does not cover metadata. */
export function hasLabels(
  { metadata: { labels = {} } }: KnownDeployment,
  wanted: Record<string, string>,
): boolean {
  return Object.entries(wanted).every(([label, value]) => labels[label] === value);
}

/** `a=b,c=d`, as `/scale` reports it. Expressions are written in kubectl's syntax. */
export function selectorText(selector: ScaledDeployment['selector']): string {
  const { matchLabels = {}, matchExpressions = [] } = selector;
  const equal = Object.entries(matchLabels).map(([key, value]) => `${key}=${value}`);
  const more = matchExpressions.map(({ key, operator, values = [] }) => {
    if (operator === 'Exists') return key;
    if (operator === 'DoesNotExist') return `!${key}`;
    return `${key} ${operator === 'In' ? 'in' : 'notin'} (${values.join(',')})`;
  });
  return [...equal, ...more].join(',');
}

/** The failure that the Deployment itself reports: a quota, an admission webhook, a rollout without progress. */
export function deploymentFailureOf(deployment: ScaledDeployment): string | undefined {
  const failure = deployment.status.conditions?.find(isFailure);
  return (
    failure &&
    `Deployment "${deployment.metadata.name}": ${failure.message ?? failure.reason ?? failure.type}`
  );
}

function isFailure({ type, status }: NonNullable<Status['conditions']>[number]): boolean {
  return (type === 'ReplicaFailure' && status === 'True') || (type === 'Progressing' && status === 'False');
}

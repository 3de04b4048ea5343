/**
 * What is kept of a Deployment: what is looked at, and a fingerprint of all that makes its pods. With thousands of pools the rest
 * would be most of the controller's memory.
 */
import { hash } from 'node:crypto';
import type { Deployment, KubeObject } from '../../kube/wire.ts';
import type { Replicas } from './target.ts';

type Spec = NonNullable<Deployment['spec']>;
type Status = NonNullable<Deployment['status']>;

export interface KnownDeployment extends KubeObject {
  readonly replicas: number | undefined;
  readonly selector: Spec['selector'];
  /** Of its pods, s. */
  readonly graceS: number | undefined;
  /** Fingerprint of its spec, the replicas apart: what it makes of its pods changes only with it. */
  readonly made: string;
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

export function knownDeployment({ metadata, spec, status = {} }: Deployment): KnownDeployment {
  const { namespace, name, uid, generation, labels, ownerReferences } = metadata;
  const { replicas, ...rest } = spec ?? { selector: {}, template: {} };
  return {
    metadata: {
      name,
      ...(namespace && { namespace }),
      ...(uid && { uid }),
      ...(generation !== undefined && { generation }),
      ...(labels && { labels }),
      ...(ownerReferences && { ownerReferences }),
    },
    replicas,
    selector: rest.selector,
    graceS: rest.template.spec?.terminationGracePeriodSeconds,
    made: fingerprint(rest),
    status: {
      ...(status.replicas !== undefined && { replicas: status.replicas }),
      ...(status.readyReplicas !== undefined && { readyReplicas: status.readyReplicas }),
      ...(status.updatedReplicas !== undefined && { updatedReplicas: status.updatedReplicas }),
      ...(status.terminatingReplicas !== undefined && { terminatingReplicas: status.terminatingReplicas }),
      ...(status.observedGeneration !== undefined && { observedGeneration: status.observedGeneration }),
      ...(status.conditions && { conditions: status.conditions }),
    },
  };
}

/** Of JSON whose keys come in the same order each time, as from the API server. 16 characters. */
export function fingerprint(value: unknown): string {
  // in one call: a Hash would hold memory outside of the heap until a collection finds it
  return hash('sha256', JSON.stringify(value), 'base64url').slice(0, 16);
}

/** What it asks for, and what its status counts. */
export function countsOf({
  replicas,
  status,
}: KnownDeployment): Pick<Replicas, 'wanted' | 'existing' | 'ready' | 'rollingOut'> {
  return {
    wanted: replicas ?? 1,
    existing: status.replicas ?? 0,
    ready: status.readyReplicas ?? 0,
    rollingOut: (status.updatedReplicas ?? 0) < (status.replicas ?? 0),
  };
}

/** The fingerprint is none of the metadata. */
export function hasLabels(
  { metadata: { labels = {} } }: KnownDeployment,
  wanted: Record<string, string>,
): boolean {
  return Object.entries(wanted).every(([label, value]) => labels[label] === value);
}

/** `a=b,c=d`, as `/scale` reports it. Expressions are written as kubectl takes them. */
export function selectorText(selector: KnownDeployment['selector']): string {
  const { matchLabels = {}, matchExpressions = [] } = selector;
  const equal = Object.entries(matchLabels).map(([key, value]) => `${key}=${value}`);
  const more = matchExpressions.map(({ key, operator, values = [] }) => {
    if (operator === 'Exists') return key;
    if (operator === 'DoesNotExist') return `!${key}`;
    return `${key} ${operator === 'In' ? 'in' : 'notin'} (${values.join(',')})`;
  });
  return [...equal, ...more].join(',');
}

/** What the Deployment itself complains of: a quota, an admission webhook, a rollout that does not get on. */
export function deploymentFailureOf(deployment: KnownDeployment): string | undefined {
  const failure = deployment.status.conditions?.find(
    (c) =>
      (c.type === 'ReplicaFailure' && c.status === 'True') ||
      (c.type === 'Progressing' && c.status === 'False'),
  );
  return (
    failure &&
    `Deployment "${deployment.metadata.name}": ${failure.message ?? failure.reason ?? failure.type}`
  );
}

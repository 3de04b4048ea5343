/**
 * The cached part of a Deployment that a pool adopts: its counts, as of a pool's own, and who writes its replicas, which the API
 * server records in `managedFields`. Its template is nobody's business here. Pure.
 */
import type { Deployment } from '../../kube/wire.ts';
import { scaledPart, type ScaledDeployment } from './known-deployment.ts';
import { ownersOf, type ReplicaOwners } from './other-writers.ts';

export interface AdoptedDeployment extends ScaledDeployment {
  readonly owners: ReplicaOwners;
}

export function adoptedDeployment(deployment: Deployment): AdoptedDeployment {
  return { ...scaledPart(deployment), owners: ownersOf(deployment) };
}

/**
 * `controller/act/parked/` takes the pods of a pool and how many of them are to work, and gives pods their full or their parked
 * size. How many are to work is not its business.
 *
 * This file is what changes the cluster. Everything that is known of a pod is read from the pod, so any controller continues
 * anywhere; what is kept between reconciles are our own writes that the watch does not show yet, and what the API server refused.
 */
import type { KubeApi } from '../../../kube/api.ts';
import { KubeError } from '../../../kube/errors.ts';
import type { Pod } from '../../../kube/wire.ts';
import type { WorkerPool } from '../../../kube/workerpool.ts';
import { parkedPodsOf, pendingResize, requestedSize, type PodSize } from './size.ts';

/** Why replicas cannot be parked, or do not get their full size. */
export interface ParkingFailure {
  readonly reason: 'NoResize' | 'TemplateUnfit' | 'Refused' | 'ResizePending' | 'WorkersUnmanaged';
  readonly message: string;
}

/** The state of this stage for a pool, from one reconcile to the next. */
export interface ParkingState {
  /** Sizes that we requested and the watch does not show yet, by pod. */
  readonly written: Map<string, 'full' | 'parked'>;
  /** Pods that were refused their full size, and when it is tried again, ms of the elapsed clock. */
  readonly refused: Map<string, { readonly message: string; readonly until: number }>;
  /** Nothing can be parked; until then, or until the spec changes, it is not tried again. */
  off: (ParkingFailure & { readonly of: string; readonly until: number }) | undefined;
}

export function initialParkingState(): ParkingState {
  return { written: new Map(), refused: new Map(), off: undefined };
}

const REFUSED_MS = 30_000;
const OFF_MS = 600_000;

export interface ParkingOptions {
  readonly api: KubeApi;
  readonly pool: WorkerPool;
  readonly state: ParkingState;
  /** ms of the elapsed clock. */
  readonly now: number;
  readonly signal: AbortSignal;
}

export interface Parking {
  /** Pods to keep in all; 0 while none can be parked. */
  readonly replicas: number;
  sizeOf(pod: Pod, rollingOut: boolean): PodSize;
  /** Returns the names of those that were accepted. */
  resize(pods: readonly Pod[], to: 'full' | 'parked'): Promise<string[]>;
  /** What is known of the pool's active pods. */
  failureOf(pods: readonly Pod[], rollingOut: boolean): ParkingFailure | undefined;
}

/** `undefined` for a pool that parks no replicas and has none left of before. */
export function parkingOf(options: ParkingOptions): Parking | undefined {
  const { api, pool, state, now, signal } = options;
  const wish = parkedPodsOf(pool);
  if (!wish) return undefined;
  const { sizes, unfit } = wish;
  const of = `${pool.metadata.uid}/${pool.metadata.generation}`;
  if (state.off && (state.off.of !== of || state.off.until <= now)) state.off = undefined;

  function sizeOf(pod: Pod, rollingOut: boolean): PodSize {
    const { name } = pod.metadata;
    const seen = requestedSize(pod, sizes, rollingOut);
    if (state.written.get(name) === seen) state.written.delete(name);
    const size = state.written.get(name) ?? seen;
    const refused = state.refused.get(name);
    if (refused && refused.until > now && size === 'parked') return 'stuck';
    return size === 'full' && pendingResize(pod) !== undefined ? 'stuck' : size;
  }

  /** Whether it was accepted. Rejects with errors that are to be retried. */
  async function resizeOne(pod: Pod, to: 'full' | 'parked'): Promise<boolean> {
    const { namespace = '', name, uid = '' } = pod.metadata;
    const requests = sizes[to];
    if (!requests) return false;
    try {
      await api.pods.resize({ namespace, name }, uid, sizes.container, requests, { signal });
    } catch (error) {
      if (!(error instanceof KubeError) || !(error.refused || error.notFound || error.conflict)) throw error;
      await note(error, name, to);
      return false;
    }
    state.written.set(name, to);
    state.refused.delete(name);
    return true;
  }

  async function note(error: KubeError, name: string, to: 'full' | 'parked'): Promise<void> {
    // the pod is gone, or another one has its name
    if (error.conflict || (error.notFound && (await api.pods.canResize({ signal })))) return;
    const { message } = error;
    if (error.notFound) {
      const missing =
        'the API server cannot resize pods in place, which takes Kubernetes 1.33 or newer: no replica is parked';
      state.off = { of, until: now + OFF_MS, reason: 'NoResize', message: missing };
    } else if (to === 'parked') {
      const refusal = `pod ${name} cannot be parked, and so no replica is: ${message}`;
      state.off = { of, until: now + OFF_MS, reason: 'Refused', message: refusal };
    } else state.refused.set(name, { message, until: now + REFUSED_MS });
  }

  return {
    replicas: state.off ? 0 : sizes.replicas,
    sizeOf,
    resize: async (pods, to) => {
      const done = await Promise.allSettled(pods.map((pod) => resizeOne(pod, to)));
      for (const one of done) if (one.status === 'rejected') throw one.reason;
      return pods.filter((_, i) => (done[i] as PromiseFulfilledResult<boolean>).value).map(nameOf);
    },
    failureOf: (pods, rollingOut) => {
      const names = new Set(pods.map(nameOf));
      for (const kept of [state.written, state.refused])
        for (const name of kept.keys()) if (!names.has(name)) kept.delete(name);
      if (unfit !== undefined) return { reason: 'TemplateUnfit', message: unfit };
      if (state.off) return state.off;
      const stuck = pods.filter((pod) => sizeOf(pod, rollingOut) === 'stuck');
      return stuckFailure(stuck, state);
    },
  };
}

function stuckFailure(
  [first, ...more]: readonly Pod[],
  { refused }: ParkingState,
): ParkingFailure | undefined {
  if (!first) return undefined;
  const who = `pod ${nameOf(first)}${more.length > 0 ? ` and ${more.length} more` : ''}`;
  const why = pendingResize(first) ?? refused.get(nameOf(first))?.message;
  return {
    reason: 'ResizePending',
    message: `${who} did not get what the template requests (${why}): the tasks there run with what a parked pod has, and other replicas are started instead`,
  };
}

const nameOf = ({ metadata }: Pod): string => metadata.name;

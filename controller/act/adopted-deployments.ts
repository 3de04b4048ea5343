/**
 * Watches the Deployments that pools adopt. They belong to others, who may not want a label of ours on them, so a selector cannot
 * pick them: all Deployments of the namespaces with such pools are watched, or of all namespaces if there are many, without those
 * that pools own, and of each one that no pool names nothing is kept. Where no pool adopts anything, nothing is watched.
 *
 * What the watch does not show is read once: a Deployment that was there before a pool named it, or that does not exist. That one
 * is missing until something is reported of it.
 */
import type { KubeApi } from '../../kube/api.ts';
import { DEPLOYMENTS, type ObjectRef } from '../../kube/resources.ts';
import { createSharing } from '../../kube/sharing.ts';
import { joinStats, refOf, reflect, type Reflector, type WatchStats } from '../../kube/watch.ts';
import type { Deployment } from '../../kube/wire.ts';
import type { WorkerPool } from '../../kube/workerpool.ts';
import { adoptedDeployment, type AdoptedDeployment } from './adopted-deployment.ts';
import { MANAGED_BY, MANAGER } from './deployment.ts';
import { findDeployment } from './find-deployment.ts';

export interface AdoptedDeployments {
  /** Notes which Deployment a pool adopts, if any; `undefined` for a pool that is gone. */
  pool(key: string, pool: WorkerPool | undefined): void;
  /** Begins to watch. Resolves when all that is adopted has been listed, or cannot be. */
  begin(): Promise<void>;
  /**
   * The Deployment as the watch has it; read from the API server if that has none, or one that is behind. `undefined` if it does not
   * exist. Rejects as the API server does.
   */
  find(
    ref: ObjectRef,
    isBehind: (seen: AdoptedDeployment) => boolean,
  ): Promise<AdoptedDeployment | undefined>;
  /** A Deployment that a pool owns, or owned, was reported: another pool may name it. */
  reported(deployment: string): void;
  /** For metrics, of all watches together; `undefined` if there is none. */
  stats(): WatchStats | undefined;
  /** Resolves when the signal was aborted and all watches have ended. */
  stopped(): Promise<void>;
}

export interface AdoptedDeploymentsOptions {
  readonly api: KubeApi;
  /** The only ones where pools may be; empty for all. */
  readonly namespaces: readonly string[];
  /** The pool has to be reconciled. */
  readonly onPool: (key: string) => void;
  readonly onError: (error: unknown) => void;
  readonly signal: AbortSignal;
}

/** A watch each; if more namespaces have such pools, one watch of all namespaces. */
const MOST_NAMESPACES = 16;
/** As a scope. */
const ALL = '';

/** The watch of a namespace, or of all. */
interface Scope {
  readonly reflector: Reflector<AdoptedDeployment, Deployment>;
  readonly end: AbortController;
  readonly isSynced: () => boolean;
  /** Resolves when it is, or when listing has failed for the first time. */
  readonly known: Promise<void>;
}

export function createAdoptedDeployments(options: AdoptedDeploymentsOptions): AdoptedDeployments {
  const { api, namespaces, onPool, onError, signal } = options;
  const adopters = createAdopters();
  const share = createSharing();
  const scopes = new Map<string, Scope>();
  const running = new Set<Promise<void>>();
  /** Deployments that were not there when they were read, and of which nothing was reported since. */
  const missing = new Set<string>();
  let begun = false;

  function changed(deployment: string): void {
    missing.delete(deployment);
    for (const pool of adopters.of(deployment)) onPool(pool);
  }

  function open(name: string): Scope {
    const end = new AbortController();
    const known = Promise.withResolvers<void>();
    let synced = false;
    const reflector = reflect<Deployment, AdoptedDeployment>({
      api,
      resource: DEPLOYMENTS,
      labelSelector: `${MANAGED_BY}!=${MANAGER}`,
      namespaces: [name === ALL ? undefined : name],
      transform: (deployment) => (isToKeep(deployment) ? share(adoptedDeployment(deployment)) : undefined),
      onChange: changed,
      onError: (error) => {
        known.resolve();
        onError(error);
      },
      signal: AbortSignal.any([signal, end.signal]),
    });
    reflector.synced.then(
      () => {
        synced = true;
        known.resolve();
        adjust();
      },
      () => known.resolve(),
    );
    const ended = reflector.stopped.finally(() => running.delete(ended));
    running.add(ended);
    return { reflector, end, isSynced: () => synced, known: known.promise };
  }

  const isToKeep = ({ metadata: { namespace, name, labels } }: Deployment): boolean =>
    // one with our label was read: it is watched as a pool's own, without what is needed here
    labels?.[MANAGED_BY] !== MANAGER && adopters.of(`${namespace}/${name}`).size > 0;

  /** Opens the watches that are needed, and ends those that are not, once others have taken over. */
  function adjust(): void {
    if (!begun || signal.aborted) return;
    const wanted = wantedScopes();
    for (const name of wanted) if (!scopes.has(name)) scopes.set(name, open(name));
    const replaced = [...wanted].every((name) => scopes.get(name)?.isSynced());
    for (const [name, scope] of scopes) {
      if (wanted.has(name) || !replaced) continue;
      scope.end.abort();
      scopes.delete(name);
      // a watch that comes later may have missed their creation
      missing.clear();
    }
  }

  function wantedScopes(): ReadonlySet<string> {
    const places = adopters.namespaces();
    const few = places.size <= MOST_NAMESPACES && !scopes.has(ALL);
    return namespaces.length > 0 || few || places.size === 0 ? places : new Set([ALL]);
  }

  function scopeOf({ namespace }: ObjectRef): Scope | undefined {
    return [scopes.get(namespace), scopes.get(ALL)].find((scope) => scope?.isSynced());
  }

  return {
    pool: (key, pool) => {
      const name = pool?.spec.scaleTargetRef?.name;
      if (adopters.set(key, name === undefined ? undefined : `${refOf(key).namespace}/${name}`)) adjust();
    },
    begin: async () => {
      begun = true;
      adjust();
      await Promise.all(Array.from(scopes.values(), ({ known }) => known));
    },
    find: async (ref, isBehind) => {
      const key = `${ref.namespace}/${ref.name}`;
      const scope = scopeOf(ref);
      const seen = scope?.reflector.store.get(key);
      if (seen && !isBehind(seen)) return seen;
      if (!seen && scope && missing.has(key)) return undefined;
      const store = seen ? undefined : scope?.reflector.beginRead(key);
      const found = await findDeployment(api, ref, signal);
      // copied, as what the watch keeps of it
      const now = found && adoptedDeployment(found);
      store?.(found);
      if (!found && scope && !scope.reflector.store.has(key)) missing.add(key);
      return now;
    },
    reported: (deployment) => {
      if (adopters.of(deployment).size > 0) changed(deployment);
    },
    stats: () => joinStats(Array.from(scopes.values(), ({ reflector }) => reflector)),
    stopped: async () => void (await Promise.all(running)),
  };
}

/** Which pools adopt which Deployment, and in which namespaces. */
interface Adopters {
  /** Whether anything has changed. */
  set(pool: string, deployment: string | undefined): boolean;
  /** The pools that adopt it. */
  of(deployment: string): ReadonlySet<string>;
  namespaces(): ReadonlySet<string>;
}

function createAdopters(): Adopters {
  const none: ReadonlySet<string> = new Set();
  const deployments = new Map<string, string>();
  const pools = new Map<string, Set<string>>();
  const perNamespace = new Map<string, number>();

  function count(namespace: string, by: number): void {
    const now = (perNamespace.get(namespace) ?? 0) + by;
    if (now > 0) perNamespace.set(namespace, now);
    else perNamespace.delete(namespace);
  }

  return {
    set: (pool, deployment) => {
      const before = deployments.get(pool);
      if (before === deployment) return false;
      const { namespace } = refOf(pool);
      if (before !== undefined) {
        const others = pools.get(before);
        others?.delete(pool);
        if (others?.size === 0) pools.delete(before);
        deployments.delete(pool);
        count(namespace, -1);
      }
      if (deployment === undefined) return true;
      deployments.set(pool, deployment);
      const all = pools.get(deployment) ?? new Set();
      pools.set(deployment, all.add(pool));
      count(namespace, 1);
      return true;
    },
    of: (deployment) => pools.get(deployment) ?? none,
    namespaces: () => new Set(perNamespace.keys()),
  };
}

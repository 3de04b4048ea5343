/**
 * Watches the pods of adopted Deployments. They do not carry a pool's label, so each such pool has a watch of its own, with its
 * Deployment's selector, for as long as it asks for one.
 */
import type { Lister } from '../../kube/api.ts';
import { PODS } from '../../kube/resources.ts';
import { joinStats, refOf, reflect, type Reflector, type WatchStats } from '../../kube/watch.ts';
import type { Pod } from '../../kube/wire.ts';
import { slimPod } from '../act/known-pod.ts';

export interface AdoptedPods {
  /** Starts, keeps or (with `undefined`) ends the watch of a pool, in the pool's namespace. */
  follow(pool: string, selector: string | undefined): void;
  /** For metrics, of all watches together; `undefined` if there is none. */
  stats(): WatchStats | undefined;
  /** Resolves when the signal was aborted and all watches have ended. */
  stopped(): Promise<void>;
}

export interface AdoptedPodsOptions {
  readonly api: Lister;
  readonly onChange: (pool: string, pod: Pod | undefined, previous: Pod | undefined) => void;
  readonly onError: (error: unknown) => void;
  readonly signal: AbortSignal;
}

interface Watch {
  readonly selector: string;
  readonly end: AbortController;
  readonly reflector: Reflector<Pod>;
}

export function followAdopted({ api, onChange, onError, signal }: AdoptedPodsOptions): AdoptedPods {
  const watches = new Map<string, Watch>();
  const running = new Set<Promise<void>>();

  return {
    follow: (pool, selector) => {
      const now = watches.get(pool);
      if (now?.selector === selector || signal.aborted) return;
      now?.end.abort();
      watches.delete(pool);
      if (selector === undefined) return;
      const end = new AbortController();
      const reflector = reflect<Pod>({
        api,
        resource: PODS,
        namespaces: [refOf(pool).namespace],
        labelSelector: selector,
        transform: slimPod,
        onError,
        signal: AbortSignal.any([signal, end.signal]),
        onChange: (_, pod, previous) => onChange(pool, pod, previous),
      });
      watches.set(pool, { selector, end, reflector });
      const ended = reflector.stopped.finally(() => running.delete(ended));
      running.add(ended);
    },
    stats: () => joinStats(Array.from(watches.values(), ({ reflector }) => reflector)),
    stopped: async () => void (await Promise.all(running)),
  };
}

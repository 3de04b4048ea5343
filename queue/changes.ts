/**
 * Reports that something happens in a queue where nothing did, for workers at rest: a task comes, is delayed or is taken, a worker
 * is ordered to drain. One pair of connections for each server, whatever the number of queues there (watch.ts).
 *
 * `load` is also listened to because it exists: a client that tracks a key that does not exist is not notified when its slot moves
 * to another primary of a cluster.
 */
import type { RedisAddress } from './connection/address.ts';
import { endpointName } from './connection/address.ts';
import type { ClusterLinks } from './connection/cluster/links.ts';
import { within } from './connection/within.ts';
import type { QueueKeys } from './keys.ts';
import { openKeyWatch, REFUSED_PAUSE_MS, TrackingRefused, type KeyWatch } from './watch.ts';

export interface Listening {
  /** Whether a change would be reported. */
  readonly sound: boolean;
  stop(): void;
}

export interface QueueChanges extends AsyncDisposable {
  /**
   * Calls `onChange` at the first change from now on, and if any may have gone unnoticed. Resolves to `undefined` if the server does
   * not allow that, or cannot be asked now. Never rejects.
   */
  listen(keys: QueueKeys, worker: string, onChange: () => void): Promise<Listening | undefined>;
}

export interface QueueChangesOptions {
  readonly address: RedisAddress;
  /** A connection that is silently dead is found after that, and some seconds, ms. */
  readonly pingEveryMs: number;
  /** `REFUSED_PAUSE_MS` by default. */
  readonly refusedPauseMs?: number;
}

const TIMEOUT_MS = 3_000;

/** Of one server. It connects when it is first needed. */
export function createQueueChanges(options: QueueChangesOptions): QueueChanges {
  const { address, pingEveryMs, refusedPauseMs = REFUSED_PAUSE_MS } = options;
  /** By key. */
  const listeners = new Map<string, () => void>();
  const closing = new AbortController();
  let watch: Promise<KeyWatch | undefined> | undefined;
  let refusedAt = -Infinity;

  function onChange(changed: readonly string[] | undefined): void {
    // each call removes some of them
    const called = new Set((changed ?? [...listeners.keys()]).map((key) => listeners.get(key)));
    for (const call of called) call?.();
  }

  async function openWatch(): Promise<KeyWatch | undefined> {
    try {
      return await openKeyWatch(address, onChange, TIMEOUT_MS, closing.signal, undefined, pingEveryMs);
    } catch (error) {
      if (error instanceof TrackingRefused) refusedAt = performance.now();
      watch = undefined;
      return undefined;
    }
  }

  return {
    listen: async (keys, worker, onFirst) => {
      if (closing.signal.aborted || performance.now() < refusedAt + refusedPauseMs) return undefined;
      const opened = await (watch ??= openWatch());
      if (!opened?.armed) return undefined;
      const { queue, delayed, load, leaving } = keys;
      const own = [queue, delayed, load, leaving];
      const stop = (): void => {
        for (const key of own) if (listeners.get(key) === onOne) listeners.delete(key);
      };
      const onOne = (): void => {
        stop();
        onFirst();
      };
      for (const key of own) listeners.set(key, onOne);
      try {
        const { reader } = opened;
        const reads = [
          reader.llen(queue),
          reader.zcard(delayed),
          reader.hlen(load),
          reader.zscore(leaving, worker),
        ];
        await within(TIMEOUT_MS, Promise.all(reads), 'LLEN');
      } catch {
        stop();
        return undefined;
      }
      return {
        get sound() {
          return opened.armed && listeners.get(queue) === onOne;
        },
        stop,
      };
    },
    [Symbol.asyncDispose]: async () => {
      closing.abort();
      listeners.clear();
      await (await watch)?.[Symbol.asyncDispose]();
    },
  };
}

/** Of a Redis Cluster: each queue is listened to at the primary that has it. */
export function createClusterChanges(
  { address, pingEveryMs }: QueueChangesOptions,
  links: Pick<ClusterLinks, 'ownerOf'>,
): QueueChanges {
  const nodes = new Map<string, QueueChanges>();
  /** Where each queue was last listened to. */
  const places = new Map<string, string>();
  const closing = new Set<Promise<void>>();

  const nodeOf = ({ queue }: QueueKeys): string | undefined => {
    const owner = links.ownerOf(queue);
    return owner && endpointName(owner);
  };

  function changesAt(node: string): QueueChanges {
    const known = nodes.get(node);
    if (known) return known;
    const created = createQueueChanges({
      address: { ...address, cluster: undefined, url: `redis://${node}` },
      pingEveryMs,
    });
    nodes.set(node, created);
    return created;
  }

  async function close(changes: QueueChanges): Promise<void> {
    await changes[Symbol.asyncDispose]();
  }

  function closeUnused(): void {
    const used = new Set(places.values());
    for (const [node, changes] of nodes) {
      if (used.has(node)) continue;
      nodes.delete(node);
      const closed = close(changes).finally(() => closing.delete(closed));
      closing.add(closed);
    }
  }

  return {
    listen: async (keys, worker, onChange) => {
      const node = nodeOf(keys);
      if (node === undefined) return undefined;
      places.set(keys.queue, node);
      const changes = changesAt(node);
      closeUnused();
      const listening = await changes.listen(keys, worker, onChange);
      return (
        listening && {
          get sound() {
            return listening.sound && nodeOf(keys) === node;
          },
          stop: () => listening.stop(),
        }
      );
    },
    [Symbol.asyncDispose]: async () => {
      await Promise.all([...closing, ...Array.from(nodes.values(), close)]);
    },
  };
}

/**
 * Finds, in a Redis Cluster, the primary that has a key, for a connection that goes to one primary and stays there, as to a single
 * server: what hangs on one connection (client tracking, a blocked command) stays on it. When the slot has moved, or another node
 * has taken over, the server replies MOVED; the connection is then replaced by one to the node that has it now (see
 * `reconnectOnError` in connection.ts), and the command is resent.
 */
import calculateSlot from 'cluster-key-slot';
import { clusterEndpoints, endpointName, type Endpoint, type RedisAddress } from '../address.ts';
import type { Locator } from '../connector.ts';
import { ClusterRefused } from '../redis-errors.ts';
import { replyCode } from '../reply-code.ts';
import { readSlots, redirection, worstOf } from './slots.ts';

/** Limit on the nodes known, those that a cluster reports included: the largest clusters have fewer primaries. */
const MOST_NODES = 1_000;

/** A locator, and what it learns from a reply of the server that it has found. */
export interface ClusterLocator extends Locator {
  /** The slot is at another node: `MOVED 3999 10.0.0.2:6379`. */
  moved(reply: Error): void;
}

/** Throws `RangeError` for addresses that cannot be read. `locate` rejects with `ClusterRefused`. */
export function locateInCluster(address: RedisAddress): ClusterLocator {
  if (!address.cluster) throw new RangeError('no cluster nodes are given');
  const { key } = address.cluster;
  // without a key, the slot of the last command that was sent to the wrong node
  let slot = key === undefined ? undefined : calculateSlot(key);
  const nodes = knownNodes(clusterEndpoints(address.cluster));

  return {
    locate: async () => {
      const failures: ClusterRefused[] = [];
      for (const node of nodes.all()) {
        try {
          const { owner, primaries } = await ask(address, node, slot);
          nodes.add(primaries);
          nodes.first(node);
          return owner;
        } catch (error) {
          if (!(error instanceof ClusterRefused)) throw error;
          failures.push(error);
        }
      }
      throw worstOf(failures);
    },
    wrong: () => nodes.last(),
    moved: (reply) => {
      const found = redirection(reply);
      if (!found) return;
      slot = found.slot;
      if (found.node) nodes.first(found.node);
    },
  };
}

/** The nodes of a cluster in the order in which they are asked. */
export interface KnownNodes {
  all(): readonly Endpoint[];
  add(found: readonly Endpoint[]): void;
  /** Asked first from now on. */
  first(node: Endpoint): void;
  /** The one asked first is asked last from now on. */
  last(): void;
}

export function knownNodes(given: readonly Endpoint[]): KnownNodes {
  let nodes = given;
  return {
    all: () => nodes,
    add: (found) => {
      const byName = new Map([...nodes, ...found].map((node) => [endpointName(node), node] as const));
      nodes = [...byName.values()].slice(0, MOST_NODES);
    },
    first: (node) => {
      const others = nodes.filter((other) => endpointName(other) !== endpointName(node));
      nodes = [node, ...others].slice(0, MOST_NODES);
    },
    last: () => {
      const [asked, ...others] = nodes;
      if (asked) nodes = [...others, asked];
    },
  };
}

/** Whether the command must be sent to another node. */
export function isMoved(error: unknown): boolean {
  return replyCode(error) === 'MOVED';
}

/** The primary that has the slot according to one node. Rejects with `ClusterRefused`. */
async function ask(
  address: RedisAddress,
  node: Endpoint,
  slot: number | undefined,
): Promise<{ owner: Endpoint; primaries: Endpoint[] }> {
  const ranges = await readSlots(address, node);
  const found = ranges.find(({ from, to }) => slot === undefined || (from <= slot && slot <= to));
  if (found) return { owner: found.primary, primaries: ranges.map(({ primary }) => primary) };
  throw new ClusterRefused(
    'away',
    `the cluster of ${endpointName(node)} has assigned slot ${slot} to no node: see CLUSTER INFO there`,
  );
}

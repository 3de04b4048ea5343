/**
 * Finds, in a Redis Cluster, the primary that has a key. Each connection goes to one primary and stays there, as to a single
 * server: the keys of a queue share a slot, so all that is done with them is done there, and what hangs on one connection (WAIT,
 * client tracking, a blocked command) stays on it. When the slot has moved, or another node has taken over, the server replies
 * MOVED; the connection is then replaced by one to the node that has it now (see `reconnectOnError` in connection.ts), and the
 * command is resent.
 *
 * The result hash may be in another slot, and so on another server: see location.ts.
 */
import calculateSlot from 'cluster-key-slot';
import { clusterEndpoints, endpointName, tlsOptions, type Endpoint, type RedisAddress } from './address.ts';
import type { Locator } from './connector.ts';
import { currentAddress } from './credentials.ts';
import { askNode, endpointOf } from './locate.ts';
import { classifyError, ClusterRefused, errorSuffix, type RedisTrouble } from './redis-errors.ts';
import { replyCode } from './reply-code.ts';

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
  let nodes = clusterEndpoints(address.cluster);
  const first = (node: Endpoint): void => {
    const others = nodes.filter((other) => endpointName(other) !== endpointName(node));
    nodes = [node, ...others].slice(0, MOST_NODES);
  };

  return {
    locate: async () => {
      const failures: ClusterRefused[] = [];
      for (const node of nodes) {
        try {
          const { owner, primaries } = await ask(currentAddress(address), node, slot);
          nodes = merged(nodes, primaries);
          first(node);
          return owner;
        } catch (error) {
          if (!(error instanceof ClusterRefused)) throw error;
          failures.push(error);
        }
      }
      throw worst(failures);
    },
    wrong: () => {
      const [asked, ...others] = nodes;
      if (asked) nodes = [...others, asked];
    },
    moved: ({ message }) => {
      const [, which, host, port] = /^MOVED (\d+) (.*):(\d+)$/.exec(message) ?? [];
      if (which === undefined) return;
      slot = Number(which);
      // an empty host stands for that of the node that has replied
      const found = host ? endpointOf([host, port]) : undefined;
      if (found) first(found);
    },
  };
}

/** Whether the command must be sent to another node. */
export function isMoved(error: unknown): boolean {
  return replyCode(error) === 'MOVED';
}

function merged(nodes: readonly Endpoint[], found: readonly Endpoint[]): Endpoint[] {
  const known = new Set(nodes.map(endpointName));
  return [...nodes, ...found.filter((node) => !known.has(endpointName(node)))].slice(0, MOST_NODES);
}

/** The primary that has the slot according to one node, which may be a replica. Rejects with `ClusterRefused`. */
async function ask(
  { username, password, guard, ...address }: RedisAddress,
  node: Endpoint,
  slot: number | undefined,
): Promise<{ owner: Endpoint; primaries: Endpoint[] }> {
  const tls = tlsOptions(address);
  const encrypted = tls !== undefined;
  const name = endpointName(node);
  let reply: unknown;
  try {
    reply = await askNode(node, { username, password, tls, guard }, 'CLUSTER SLOTS', (redis) =>
      redis.call('CLUSTER', 'SLOTS'),
    );
  } catch (error) {
    const { trouble } = classifyError(error, encrypted);
    if (replyCode(error) === 'ERR')
      throw new ClusterRefused('cluster', `${name} is no node of a Redis Cluster: give its URL instead`);
    throw new ClusterRefused(trouble, `cluster node ${name}${errorSuffix(error, encrypted)}`);
  }
  const ranges = Array.isArray(reply) ? reply.flatMap((range) => rangeOf(range, node)) : [];
  const found = ranges.find(({ from, to }) => slot === undefined || (from <= slot && slot <= to));
  if (found) return { owner: found.primary, primaries: ranges.map(({ primary }) => primary) };
  const what = slot === undefined ? 'has assigned no slots' : `has assigned slot ${slot} to no node`;
  throw new ClusterRefused('away', `the cluster of ${name} ${what}: see CLUSTER INFO there`);
}

interface Range {
  readonly from: number;
  readonly to: number;
  readonly primary: Endpoint;
}

/** An entry of CLUSTER SLOTS, `[from, to, [host, port, …], …]`. A node that does not know its own host replies an empty one. */
function rangeOf(entry: unknown, asked: Endpoint): Range[] {
  if (!Array.isArray(entry)) return [];
  const [from, to, primary] = entry as unknown[];
  if (!Array.isArray(primary)) return [];
  const [host, port] = primary as unknown[];
  const found = endpointOf([host === '' || host === null || host === '?' ? asked.host : host, port]);
  return found && Number.isInteger(from) && Number.isInteger(to)
    ? [{ from: Number(from), to: Number(to), primary: found }]
    : [];
}

/** Of several failures, the one reported is the one that people can fix. */
const INFORMATIVE: readonly RedisTrouble[] = ['cluster', 'credentials', 'tls', 'other', 'closed', 'away'];

function worst(failures: readonly ClusterRefused[]): ClusterRefused {
  const rank = ({ trouble }: ClusterRefused): number => INFORMATIVE.indexOf(trouble);
  const [first] = failures.toSorted((a, b) => rank(a) - rank(b));
  return first ?? new ClusterRefused('other', 'no cluster nodes are given');
}

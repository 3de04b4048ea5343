/** Reads from a node of a Redis Cluster which primary has which slots. */
import { endpointName, tlsOptions, type Endpoint, type RedisAddress } from '../address.ts';
import { currentAddress } from '../credentials.ts';
import { askNode, endpointOf } from '../locate.ts';
import { classifyError, ClusterRefused, nodeRefused, type RedisTrouble } from '../redis-errors.ts';
import { isReply, replyCode } from '../reply-code.ts';

export const SLOTS = 16_384;

/** Slots that a primary has, both ends included. */
export interface SlotRange {
  readonly from: number;
  readonly to: number;
  readonly primary: Endpoint;
}

/** The slots according to one node, which may be a replica. `proven`: see `nodeRefused`. Rejects with `ClusterRefused`. */
export async function readSlots(given: RedisAddress, node: Endpoint, proven = false): Promise<SlotRange[]> {
  const address = currentAddress(given);
  const { username, password } = address;
  const tls = tlsOptions(address);
  const how = { encrypted: tls !== undefined, proven };
  const name = endpointName(node);
  let reply: unknown;
  try {
    reply = await askNode(node, { username, password, tls, paths: address }, 'CLUSTER SLOTS', (redis) =>
      redis.call('CLUSTER', 'SLOTS'),
    );
  } catch (error) {
    throw refusal(error, name, how);
  }
  const ranges = Array.isArray(reply) ? reply.flatMap((range) => rangeOf(range, node)) : [];
  if (ranges.length > 0) return ranges;
  throw new ClusterRefused('away', `the cluster of ${name} has assigned no slots: see CLUSTER INFO there`);
}

/** Why a node did not return the slots. */
function refusal(
  error: unknown,
  name: string,
  how: { readonly encrypted: boolean; readonly proven: boolean },
): ClusterRefused {
  const { trouble } = classifyError(error, how.encrypted);
  const because = { cause: error };
  if (replyCode(error) === 'NOPERM')
    return new ClusterRefused(
      'other',
      `cluster node ${name} refuses CLUSTER SLOTS to this user: allow it with +cluster|slots`,
      because,
    );
  if (replyCode(error) !== 'ERR' || trouble === 'credentials' || !isReply(error))
    return nodeRefused(error, name, how);
  // there is no code for it (seen in Redis 7.0.15): `ERR This instance has cluster support disabled`
  return /cluster support disabled/i.test(error.message)
    ? new ClusterRefused('cluster', `${name} is no node of a Redis Cluster: give its URL instead`, because)
    : new ClusterRefused(
        'cluster',
        `${name} does not execute CLUSTER SLOTS: give the nodes themselves, or, if it is a proxy that looks like a single ` +
          'server, its URL instead',
        because,
      );
}

/** An entry of CLUSTER SLOTS, `[from, to, [host, port, …], …]`. A node that does not know its own host replies an empty one. */
function rangeOf(entry: unknown, asked: Endpoint): SlotRange[] {
  if (!Array.isArray(entry)) return [];
  const [from, to, primary] = entry as unknown[];
  if (!Array.isArray(primary)) return [];
  const [host, port] = primary as unknown[];
  const found = endpointOf([host === '' || host === null || host === '?' ? asked.host : host, port]);
  return found && isSlot(from) && isSlot(to) ? [{ from, to, primary: found }] : [];
}

function isSlot(value: unknown): value is number {
  return Number.isInteger(value) && Number(value) >= 0 && Number(value) < SLOTS;
}

export interface Redirection {
  readonly slot: number;
  /** `undefined` where the reply names no host and the replier is not known. */
  readonly node: Endpoint | undefined;
}

/** The slot and node of a reply such as `MOVED 3999 10.0.0.2:6379`, or `ASK …`; an empty host stands for that of the replier. */
export function redirection({ message }: Error, replier?: Endpoint): Redirection | undefined {
  const [, slot, host, port] = /^(?:MOVED|ASK) (\d+) (.*):(\d+)$/.exec(message) ?? [];
  if (slot === undefined || !isSlot(Number(slot))) return undefined;
  const where = host || replier?.host;
  const node = where === undefined ? undefined : endpointOf([where, port]);
  return where === undefined || node ? { slot: Number(slot), node } : undefined;
}

/** Of several failures, the one reported is the one that people can fix. */
const INFORMATIVE: readonly RedisTrouble[] = ['cluster', 'credentials', 'tls', 'other', 'closed', 'away'];

export function worstOf(failures: readonly ClusterRefused[]): ClusterRefused {
  const rank = ({ trouble }: ClusterRefused): number => INFORMATIVE.indexOf(trouble);
  const [first] = failures.toSorted((a, b) => rank(a) - rank(b));
  return first ?? new ClusterRefused('other', 'no cluster nodes are given');
}

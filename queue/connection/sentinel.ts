/**
 * Finds the primary through sentinels. They are queried one after the other, the one that answered last time first, over
 * connections that are encrypted if those to Redis are. Sentinels that they report are queried from then on, too.
 *
 * Sentinels may require a password: their own, where one is given; otherwise they are queried without one, and those that require
 * one with the password of Redis, as the two are mostly the same. Credentials that worked are tried first from then on.
 */
import type { Redis } from 'ioredis';
import { plainText } from '../../runtime/plain-text.ts';
import { endpointName, sentinelEndpoints, tlsOptions, type Endpoint, type RedisAddress } from './address.ts';
import type { Locator } from './connector.ts';
import { currentAddress } from './credentials.ts';
import { askNode, endpointOf, type Login } from './locate.ts';
import { replyCode } from './reply-code.ts';
import { classifyError, SentinelRefused, errorSuffix, type RedisTrouble } from './redis-errors.ts';

/** Limit on the sentinels known, those reported by others included: a few more than installations have. */
const MOST_SENTINELS = 15;

/** A sentinel's answer: the address of the primary, and those of other sentinels. */
interface Answer {
  readonly primary: Endpoint;
  readonly others: readonly Endpoint[];
}

/** Throws `RangeError` for addresses that cannot be read. `locate` rejects with `SentinelRefused`. */
export function locateBySentinel(address: RedisAddress): Locator {
  if (!address.sentinel) throw new RangeError('no sentinels are given');
  const { name } = address.sentinel;
  const nodes = sentinelEndpoints(address.sentinel);
  let ways = credentialsOf(currentAddress(address));
  let triedWith = address.credentials?.current();

  const toFront = (node: Endpoint): void => {
    nodes.splice(nodes.indexOf(node), 1);
    nodes.unshift(node);
  };

  return {
    locate: async () => {
      const failures: SentinelRefused[] = [];
      const now = currentAddress(address);
      if (address.credentials?.current() !== triedWith) ways = credentialsOf(now);
      triedWith = address.credentials?.current();
      for (const node of nodes.slice()) {
        try {
          const { primary, others } = await ask(now, node, ways);
          toFront(node);
          addNodes(nodes, others);
          return primary;
        } catch (error) {
          if (!(error instanceof SentinelRefused)) throw error;
          failures.push(error);
        }
      }
      throw worst(failures, name);
    },
    wrong: () => {
      const [first] = nodes.splice(0, 1);
      if (first) nodes.push(first);
    },
  };
}

/** The primary according to one sentinel, which may be reached at another address. Rejects with `SentinelRefused`. */
export async function primaryBySentinel(address: RedisAddress, node: Endpoint): Promise<Endpoint> {
  return (await ask(address, node, credentialsOf(address))).primary;
}

/** What one sentinel reports of the primary. */
export interface SentinelReport {
  readonly primary: Endpoint;
  readonly replicas: number;
  readonly otherSentinels: number;
  /** Why the sentinels could not elect another primary now; `undefined` if they could. */
  readonly noQuorum: string | undefined;
}

/** For diagnosis. Rejects with `SentinelRefused`. */
export async function askSentinel(address: RedisAddress, node: Endpoint): Promise<SentinelReport> {
  const { name = '' } = address.sentinel ?? {};
  return await withWays(address, node, credentialsOf(address), async (redis) => {
    const [reply, noQuorum] = await Promise.all([
      redis.call('SENTINEL', 'master', name).catch((error: unknown) => {
        if (replyCode(error) === 'ERR') throw unknownAt(node);
        throw error;
      }),
      redis.call('SENTINEL', 'ckquorum', name).then(
        () => undefined,
        (error: unknown) => plainText((error as Error).message),
      ),
    ]);
    const field = fieldsOf(reply);
    const primary = endpointOf([field('ip'), field('port')]);
    if (!primary) throw unknownAt(node);
    const [replicas, otherSentinels] = [Number(field('num-slaves')), Number(field('num-other-sentinels'))];
    return { primary, replicas, otherSentinels, noQuorum };
  });
}

const unknownAt = (node: Endpoint): SentinelRefused =>
  new SentinelRefused('unknown', `sentinel ${endpointName(node)} monitors no primary of that name`);

function ask(address: RedisAddress, node: Endpoint, ways: Login[]): Promise<Answer> {
  const { name = '' } = address.sentinel ?? {};
  return withWays(address, node, ways, async (redis) => {
    const [reply, others] = await Promise.all([
      redis.call('SENTINEL', 'get-master-addr-by-name', name),
      redis.call('SENTINEL', 'sentinels', name).catch(() => []),
    ]);
    const primary = endpointOf(reply);
    if (!primary) throw unknownAt(node);
    return { primary, others: Array.isArray(others) ? others.flatMap(otherOf) : [] };
  });
}

/** Tries the credentials of `ways` one after the other, and puts those that worked to the front. */
async function withWays<T>(
  address: RedisAddress,
  node: Endpoint,
  ways: Login[],
  query: (redis: Redis) => Promise<T>,
): Promise<T> {
  const tls = tlsOptions(address);
  const encrypted = tls !== undefined;
  let last: unknown;
  for (const way of ways.slice()) {
    try {
      const answer = await askNode(node, { ...way, tls, paths: address }, 'SENTINEL', query);
      ways.splice(ways.indexOf(way), 1);
      ways.unshift(way);
      return answer;
    } catch (error) {
      last = error;
      if (error instanceof SentinelRefused || classifyError(error, encrypted).trouble !== 'credentials')
        break;
    }
  }
  if (last instanceof SentinelRefused) throw last;
  const given = ways.some(({ password }) => password);
  throw refusal(last, node, encrypted, given);
}

/** In the order in which they are tried. */
function credentialsOf({ sentinel, username, password }: RedisAddress): Login[] {
  if (sentinel?.password) return [{ username: sentinel.username, password: sentinel.password }];
  if (!password) return [{}];
  return [{}, { password }, ...(username ? [{ username, password }] : [])];
}

function otherOf(reply: unknown): Endpoint[] {
  if (!Array.isArray(reply)) return [];
  const field = fieldsOf(reply);
  const found = endpointOf([field('ip'), field('port')]);
  return found && !field('flags').includes('disconnected') ? [found] : [];
}

/** The fields of a reply that lists names and values in turn. */
function fieldsOf(reply: unknown): (name: string) => string {
  const fields = Array.isArray(reply) ? reply.map(String) : [];
  return (name) => {
    const at = fields.indexOf(name);
    return at < 0 ? '' : (fields[at + 1] ?? '');
  };
}

function addNodes(nodes: Endpoint[], others: readonly Endpoint[]): void {
  for (const other of others)
    if (nodes.length < MOST_SENTINELS && !nodes.some((node) => endpointName(node) === endpointName(other)))
      nodes.push(other);
}

function refusal(error: unknown, node: Endpoint, encrypted: boolean, given: boolean): SentinelRefused {
  const { trouble } = classifyError(error, encrypted);
  const told = (answer: 'quoted' | 'withheld'): string =>
    `sentinel ${endpointName(node)}${errorSuffix(error, encrypted, answer)}`;
  if (trouble !== 'credentials')
    return new SentinelRefused(trouble, told('quoted'), { cause: error, withheld: told('withheld') });
  const words = given
    ? 'the sentinels refuse the password: give theirs, as sentinel.passwordFrom or MILLRACE_REDIS_SENTINEL_PASSWORD'
    : 'the sentinels require a password: give it as sentinel.passwordFrom or MILLRACE_REDIS_SENTINEL_PASSWORD';
  return new SentinelRefused('credentials', words);
}

/** Of several failures, the one reported is the one that people can fix; a sentinel that is down is the least informative. */
const INFORMATIVE: readonly RedisTrouble[] = ['credentials', 'tls', 'unknown', 'other', 'closed', 'away'];

function worst(failures: readonly SentinelRefused[], name: string): SentinelRefused {
  const rank = ({ trouble }: SentinelRefused): number => INFORMATIVE.indexOf(trouble);
  const [first] = failures.toSorted((a, b) => rank(a) - rank(b) || a.message.localeCompare(b.message));
  if (first && failures.every(({ trouble }) => trouble === 'unknown'))
    return new SentinelRefused('unknown', `no sentinel monitors a primary "${name}": check sentinel.name`);
  return first ?? new SentinelRefused('other', 'no sentinels are given');
}

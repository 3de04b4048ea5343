/**
 * Classifies connection errors: a kind, which decides what a program does about it, and one sentence for people.
 *
 * A server's error reply begins with a code in capitals, and only that code is examined: the text may be anything, and that of
 * an untrusted server is truncated. Errors of the operating system (no route, no certificate) have codes of their own.
 */
import { plainText } from '../../runtime/plain-text.ts';
import { addressName, isEncrypted, type RedisAddress } from './address.ts';
import { codeIn, isReply, replyCode } from './reply-code.ts';
import { ReplyRefused } from './reply-scanner.ts';
import { RedisTimeout } from './within.ts';

/**
 * `closed` has many causes: a server that shuts down, a proxy, one that requires TLS or a certificate. `unknown`: sentinels
 * answer, but monitor no primary of that name.
 */
export type RedisTrouble =
  | 'credentials'
  | 'tls'
  | 'database'
  | 'cluster'
  | 'away'
  | 'closed'
  | 'unknown'
  | 'other';

/** The server has no such database, or does not let this user into it: nothing was sent to another one. */
export class DatabaseRefused extends Error {
  override name = 'DatabaseRefused';
}

/** The address's guard allows none of the addresses of that host. */
export class HostRefused extends Error {
  override name = 'HostRefused';
}

/** There is no way to the server: the message says why, and what to do. */
export class NodeUnreachable extends Error {
  override name = 'NodeUnreachable';
}

/** Those that were asked for the address of a server did not return it. */
class NotLocated extends Error {
  readonly trouble: RedisTrouble;
  /** The message without anything that a server has replied. */
  readonly withheld: string;
  constructor(trouble: RedisTrouble, message: string, options: ErrorOptions & { withheld?: string } = {}) {
    super(message, options);
    this.trouble = trouble;
    this.withheld = options.withheld ?? message;
  }
}

/** The sentinels did not return the address of the primary. */
export class SentinelRefused extends NotLocated {
  override name = 'SentinelRefused';
}

/** The nodes of a cluster did not return the address of the primary. */
export class ClusterRefused extends NotLocated {
  override name = 'ClusterRefused';
}

/**
 * Why a node of a cluster cannot be used. `proven`: the cluster was connected to before, so that it is no question of TLS if a
 * node hangs up.
 */
export function nodeRefused(
  error: unknown,
  name: string,
  { encrypted, proven }: { readonly encrypted: boolean; readonly proven: boolean },
): ClusterRefused {
  const { trouble } = classifyError(error, encrypted);
  const told = (answer: 'quoted' | 'withheld'): string =>
    trouble === 'closed' && proven
      ? `cluster node ${name} closes the connection: is it running?`
      : `cluster node ${name}${errorSuffix(error, encrypted, answer)}`;
  return new ClusterRefused(trouble, told('quoted'), { cause: error, withheld: told('withheld') });
}

interface Meaning {
  readonly trouble: RedisTrouble;
  /** Goes behind the server's name. */
  readonly words: string;
}

const LONGEST_TEXT = 300;
const CLUSTER = 'is a node of a Redis Cluster, which must be named as one: as cluster.nodes, or by --cluster';

/** Replies of a cluster that pass by themselves: a slot moves, or a replica is about to take over. */
const PASSING = /^(ASK|TRYAGAIN|CLUSTERDOWN)$/;
/** The same to those who know that it is a cluster: nodes that do not yet agree where a slot is. */
const PASSING_THERE = /^(ASK|TRYAGAIN|CLUSTERDOWN|MOVED)$/;

/** The same for every host, so that it does not reveal what the name resolves to. */
const NOT_ALLOWED =
  "is not a host that the controller may connect to: choose another, or have it added to the chart's redis.allowedHosts";

/** Error replies by their code; the reply itself is appended in brackets. */
const ANSWERS: Record<string, readonly [RedisTrouble, string]> = {
  LOADING: ['away', 'is still loading its data: it answers once that is done'],
  BUSY: ['other', 'is busy running a script: see SCRIPT KILL'],
  MISCONF: ['other', 'accepts no writes because its snapshots fail: check its log and its disk'],
  OOM: ['other', 'is out of memory for writes: raise maxmemory, or free some'],
  READONLY: ['other', 'is a replica and accepts no writes: use the address of the primary, or sentinels'],
  MASTERDOWN: ['away', 'is a replica whose primary is down'],
  NOREPLICAS: ['other', 'accepts no writes: too few replicas are connected (min-replicas-to-write)'],
  DENIED: ['other', 'accepts only local connections (protected mode): set a password'],
  NOPROTO: ['other', 'does not support the protocol of Redis 6: is it older?'],
};

/** What a program may do about an error of `address`. */
export function troubleOfRedis(error: unknown, address: RedisAddress): RedisTrouble {
  if (address.cluster && PASSING_THERE.test(replyCode(error) ?? '')) return 'away';
  return classifyError(error, isEncrypted(address)).trouble;
}

/**
 * One sentence for people: what is wrong with the server at `address`, and what to check. With `withheld` it quotes nothing of
 * the reply, for readers who must not learn what listens at an address chosen by a tenant.
 */
export function describeRedisError(
  error: unknown,
  address: RedisAddress,
  answer: 'quoted' | 'withheld' = 'quoted',
): string {
  if (error instanceof RangeError) return firstLine(error.message);
  if (address.cluster && PASSING_THERE.test(replyCode(error) ?? ''))
    return `Redis at ${addressName(address)} cannot serve this key now: its slot is moving, or has no primary: try again (redis-cli --cluster check shows what is left undone)`;
  return `Redis at ${addressName(address)}${errorSuffix(error, isEncrypted(address), answer)}`;
}

/** The same without the server's name, to be appended to one: begins with a space or a colon. */
export function errorSuffix(
  error: unknown,
  encrypted: boolean,
  answer: 'quoted' | 'withheld' = 'quoted',
): string {
  const { words } = classifyError(error, encrypted, answer);
  return words.startsWith(':') ? words : ` ${words}`;
}

export function classifyError(
  error: unknown,
  encrypted: boolean,
  answer: 'quoted' | 'withheld' = 'quoted',
): Meaning {
  const text = firstLine(error instanceof Error ? error.message : String(error));
  if (error instanceof NotLocated)
    return {
      trouble: error.trouble,
      words: `: ${answer === 'withheld' ? firstLine(error.withheld) : text}`,
    };
  if (error instanceof ReplyRefused) return { trouble: 'other', words: `was cut off: ${text}` };
  if (error instanceof NodeUnreachable) return { trouble: 'away', words: `: ${text}` };
  if (error instanceof HostRefused) return { trouble: 'other', words: NOT_ALLOWED };
  if (error instanceof DatabaseRefused) return { trouble: 'database', words: text };
  if (error instanceof RedisTimeout) return { trouble: 'away', words: `did not answer in time: ${text}` };
  return isReply(error) ? answered(text, answer) : failed(error, text, encrypted);
}

function answered(text: string, answer: 'quoted' | 'withheld'): Meaning {
  const code = codeIn(text) ?? '';
  if (/^(WRONGPASS|NOAUTH)$/.test(code) || /invalid password|without any password/i.test(text))
    return {
      trouble: 'credentials',
      words: 'refuses the user name or password: check passwordFrom and username',
    };
  if (
    /^(MOVED|ASK|CROSSSLOT|CLUSTERDOWN|TRYAGAIN)$/.test(code) ||
    /cluster mode|cluster node|same slot/.test(text)
  )
    return { trouble: PASSING.test(code) ? 'away' : 'cluster', words: CLUSTER };
  const quoted = answer === 'quoted' ? text : '';
  if (code === 'NOPERM')
    return { trouble: 'other', words: `denies a command to this user${quoted && `: ${quoted}`}` };
  if (/max number of clients/.test(text))
    return { trouble: 'away', words: 'has reached its limit of connections: raise maxclients' };
  const [trouble, words] = ANSWERS[code] ?? ['other', ''];
  if (words !== '') return { trouble, words: quoted ? `${words} (${quoted})` : words };
  if (answer === 'withheld')
    return { trouble, words: "rejected a command: its reply is in the controller's log" };
  return { trouble, words: `: ${text || 'it rejected a command'}` };
}

function failed(error: unknown, text: string, encrypted: boolean): Meaning {
  const { code = '', reason } = (error ?? {}) as { code?: string; reason?: string };
  if (code === 'ECONNREFUSED')
    return { trouble: 'away', words: 'refuses connections: is it running, and is the port right?' };
  if (code === 'ENOTFOUND' || code === 'EAI_AGAIN')
    return { trouble: 'away', words: 'cannot be found: the host name does not resolve' };
  if (code === 'ETIMEDOUT' || /connect ETIMEDOUT/.test(text))
    return {
      trouble: 'away',
      words: `does not answer: check address and network policies${encrypted ? ', and whether it speaks TLS' : ''}`,
    };
  if (code === 'ECONNRESET' || code === 'EPIPE' || /^(Connection is closed|Stream isn't)/.test(text))
    return {
      trouble: 'closed',
      words: `closes the connection: is it running, and does it want ${encrypted ? 'a client certificate' : 'TLS (rediss://)'}?`,
    };
  if (/^(ERR_SSL|ERR_TLS|CERT_|CRL_|UNABLE_TO_|EPROTO)/.test(code) || /certificate|SSL|TLS/.test(text))
    return {
      trouble: 'tls',
      // OpenSSL's own text has the number of a thread in it
      words: `and the client do not agree on TLS (${reason ?? text}): check redis:// or rediss://, and tls`,
    };
  if (text.startsWith('Protocol error'))
    return { trouble: 'other', words: 'does not speak the Redis protocol: are host and port right?' };
  return { trouble: 'other', words: `: ${text || 'the connection failed'}` };
}

/** The first line, cut, and without the arguments of a command, which may be a password. */
function firstLine(message: string): string {
  const [line = ''] = message.split('\n', 1);
  const text = line
    .replace(/,? with args beginning with.*/, '')
    // which line of a script it was is for nobody but us
    .replace(/ script: [0-9a-f]{40}, on @user_script:\d+\.?$/, '');
  return plainText(text, LONGEST_TEXT);
}

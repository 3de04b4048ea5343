/**
 * What an error of a connection means: its kind, which decides what a program does about it, and one sentence for a person.
 *
 * What a server answers begins with a code in capitals, and only that code is looked at: its words may be anything, and those
 * of a stranger are cut short. What the machine says (no route, no certificate) has codes of its own.
 */
import { plainText } from '../../runtime/plain-text.ts';
import { addressName, isEncrypted, type RedisAddress } from './address.ts';
import { codeIn, isReply } from './reply-code.ts';
import { ReplyRefused } from './reply-scanner.ts';
import { RedisTimeout } from './within.ts';

/**
 * `closed` may be many things: a server that ends, a proxy, one that wants TLS or a certificate. `unknown`: sentinels answer, and
 * watch no primary of that name.
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

/** The address's guard lets nobody connect to any address of that host. */
export class HostRefused extends Error {
  override name = 'HostRefused';
}

/** The sentinels did not say where the primary is. */
export class SentinelRefused extends Error {
  override name = 'SentinelRefused';
  readonly trouble: RedisTrouble;
  constructor(trouble: RedisTrouble, message: string) {
    super(message);
    this.trouble = trouble;
  }
}

interface Meaning {
  readonly trouble: RedisTrouble;
  /** Goes behind the server's name. */
  readonly words: string;
}

const LONGEST_TEXT = 300;
const CLUSTER =
  'is a Redis Cluster, which is not supported: use a Redis that is none, with a replica and sentinels';

/** The same for each: it does not tell what the host's name stands for. */
const NOT_ALLOWED =
  'is no host that the controller connects to: choose another, or have it listed in redis.allowedHosts of the chart';

/** What servers refuse, by the code that the answer begins with. The answer itself goes into the brackets. */
const ANSWERS: Record<string, readonly [RedisTrouble, string]> = {
  LOADING: ['away', 'still reads its data'],
  BUSY: ['other', 'is kept busy by a script: look at SCRIPT KILL'],
  MISCONF: ['other', 'takes no writes as long as its snapshots fail: look at its log and its disk'],
  OOM: ['other', 'has no memory left for writes: raise maxmemory, or remove something'],
  READONLY: ['other', 'is a replica, which takes no writes: give the address of the primary, or sentinels'],
  MASTERDOWN: ['away', 'is a replica whose primary is away'],
  NOREPLICAS: ['other', 'takes no writes, as too few replicas are connected (min-replicas-to-write)'],
  DENIED: ['other', 'takes connections of its own machine only (protected mode): give it a password'],
  NOPROTO: ['other', 'does not speak the protocol of Redis 6: is it one?'],
};

/** What a program may do about an error of `address`. */
export function troubleOfRedis(error: unknown, address: RedisAddress): RedisTrouble {
  return classifyError(error, isEncrypted(address)).trouble;
}

/**
 * One sentence for a person: what is wrong with the server at `address`, and what to look at. With `withheld` it quotes nothing
 * that the server said, for readers who should not learn what listens at an address that somebody else has chosen.
 */
export function describeRedisError(
  error: unknown,
  address: RedisAddress,
  answer: 'quoted' | 'withheld' = 'quoted',
): string {
  if (error instanceof RangeError) return firstLine(error.message);
  return `Redis at ${addressName(address)}${errorSuffix(error, isEncrypted(address), answer)}`;
}

/** The same behind the name of any server: begins with a space or a colon. */
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
  if (error instanceof SentinelRefused) return { trouble: error.trouble, words: `: ${text}` };
  if (error instanceof ReplyRefused) return { trouble: 'other', words: `was cut off: ${text}` };
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
    // these two pass by themselves, also on the one node of a cluster that has all keys
    return { trouble: /^(CLUSTERDOWN|TRYAGAIN)$/.test(code) ? 'away' : 'cluster', words: CLUSTER };
  const quoted = answer === 'quoted' ? text : '';
  if (code === 'NOPERM')
    return { trouble: 'other', words: `denies a command to this user${quoted && `: ${quoted}`}` };
  if (/max number of clients/.test(text))
    return { trouble: 'away', words: 'has no room for one more connection: raise maxclients' };
  const [trouble, words] = ANSWERS[code] ?? ['other', ''];
  if (words !== '') return { trouble, words: quoted ? `${words} (${quoted})` : words };
  if (answer === 'withheld')
    return { trouble, words: "refuses a command in words of its own, which are in the controller's log" };
  return { trouble, words: `: ${text || 'it refused a command'}` };
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
    return { trouble: 'other', words: 'does not speak as Redis does: are host and port right?' };
  return { trouble: 'other', words: `: ${text || 'the connection failed'}` };
}

/** The first line, cut, and without the arguments of a command, which may be a password. */
function firstLine(message: string): string {
  const [line = ''] = message.split('\n', 1);
  const text = line.replace(/,? with args beginning with.*/, '');
  return plainText(text, LONGEST_TEXT);
}

/**
 * Distinguishes errors caused by the request itself, which make resending it pointless, from those of a server that is
 * unreachable or cannot write for a while. Pure.
 */
import { isReply } from '../../queue/connection/reply-code.ts';
import { ConnectionDropped } from '../../queue/connection/drops.ts';

export interface TurnRefusal {
  /**
   * `unsendable`: it could not even be packed. `rejected`: the server refused it. `dropped`: the server closed the connection
   * on it. `state`: the server refuses it at present, for want of memory or because a key has another type. `away`: the server of the
   * results, which is another one, does not answer, or no replica confirms them.
   */
  readonly kind: 'unsendable' | 'rejected' | 'dropped' | 'state' | 'away';
  readonly reason: string;
  /** The server is out of memory, from which most servers recover. */
  readonly noMemory?: true;
}

/** The server of the results, which is not that of their queue, does not answer, or no replica of it confirms them. */
export class ResultsAway extends Error {
  override name = 'ResultsAway';
}

/**
 * Error codes of a server in a state that passes or can be repaired, also inside the longer text of a script's error.
 * https://redis.io/docs/latest/develop/reference/protocol-spec/#simple-errors has no list: these are from the sources of
 * Redis and Valkey.
 */
const STATES =
  /(?:^|[-\s])(?:OOM|READONLY|MISCONF|NOREPLICAS|NOGOODSLAVE|NOTREADY|LOADING|BUSY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|MOVED|ASK|CROSSSLOT|UNBLOCKED|NOAUTH|WRONGPASS|NOPERM|WRONGTYPE|STALE|NOSCRIPT|UNKILLABLE|INPROG)\s/;
/** Texts without a code: of the server, and of a proxy without a server. */
const AWAY = /max number of clients|not yet synced|upstream|no backend|timed? ?out|try again/i;

const NO_MEMORY = /\bOOM\b/;

/** Classifies an error of a request; `undefined` without an answer, which shows nothing about the request. */
export function turnRefusalOf(error: unknown): TurnRefusal | undefined {
  if (!(error instanceof Error)) return undefined;
  const reason = error.message.split('\n', 1)[0] ?? '';
  if (error instanceof ConnectionDropped) return { kind: 'dropped', reason };
  if (error instanceof ResultsAway) return { kind: 'away', reason };
  if (error instanceof RangeError) return { kind: 'unsendable', reason };
  if (error instanceof TypeError) return { kind: 'rejected', reason };
  if (!isReply(error)) return undefined;
  if (!STATES.test(`${reason} `) && !AWAY.test(reason)) return { kind: 'rejected', reason };
  return { kind: 'state', reason, ...(NO_MEMORY.test(reason) && { noMemory: true }) };
}

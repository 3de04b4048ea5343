/**
 * Dead letters: tasks that failed for good, with the reason. An entry of the list is the time, a header as JSON, a
 * line feed and the task's bytes, so that binary tasks can be dead letters too. Entries are written by turn.lua, and taken
 * apart here and in turn.lua, sweep.lua, heads.lua, letter.lua and move.lua.
 */
import type { Redis } from 'ioredis';
import type { QueueKeys } from './keys.ts';
import { asBytes, asCount, asList, asText, isTime } from './scripts/decode-reply.ts';
import { openRequests } from './scripts/answers.ts';
import { script } from './scripts/scripts.ts';

export interface DeadHeader {
  readonly error: string;
  /** Number of attempts. */
  readonly attempts: number;
  readonly worker: string;
  /** For a poison task, the deliveries that its workers did not survive. */
  readonly deliveries?: number;
  /** The task's id, unless that is the whole task. */
  readonly id?: string;
  /** The batch that it is a part of. */
  readonly batch?: string;
  /** It was not begun by then, ms of Redis time, and not run. */
  readonly expired?: number;
  /** Its key, if it is unique. */
  readonly unique?: string;
  /** Not dead, but the task of this id has its key: occurs only among the errors. */
  readonly duplicateOf?: string;
  /** Cancelled, not dead: occurs only among the errors. */
  readonly cancelled?: true;
}

export interface DeadLetter extends DeadHeader {
  /** ms of Redis time; 0 if something else wrote the entry, so that it is not known. */
  readonly at: number;
  readonly raw: Buffer;
}

/** Half a surrogate pair, which JSON can spell and Lua does not read, becomes the character that it is in Redis, too. */
export function deadHeader(header: DeadHeader): string {
  return JSON.stringify(header, (_, value: unknown) =>
    typeof value === 'string' ? value.toWellFormed() : value,
  );
}

/** A header from the errors hash; any other text found there is the error itself. */
export function parseHeader(text: Buffer): DeadHeader {
  return readHeader(text.toString()) ?? { error: text.toString(), attempts: 0, worker: '' };
}

/** `undefined` for anything but a header of ours. */
function readHeader(text: string): DeadHeader | undefined {
  try {
    const header = JSON.parse(text) as Partial<DeadHeader> | null;
    const { error, attempts, worker, id, deliveries } = header ?? {};
    const whole = typeof error === 'string' && typeof worker === 'string' && Number.isFinite(attempts);
    const rest = ['string', 'undefined'].includes(typeof id) && (deliveries ?? 0) >= 0;
    return whole && rest ? (header as DeadHeader) : undefined;
  } catch {
    return undefined;
  }
}

/** Throws `SyntaxError` for anything but an entry of ours. */
export function parseDead(entry: Buffer): DeadLetter {
  const space = entry.indexOf(' ');
  const end = entry.indexOf('\n');
  const at = Number(entry.toString('latin1', 0, Math.max(0, Math.min(space, 20))));
  const header = space > 0 && end > space ? readHeader(entry.toString('utf8', space + 1, end)) : undefined;
  if (!header || !isTime(at)) throw new SyntaxError(FOREIGN);
  return { ...header, at, raw: entry.subarray(end + 1) };
}

const FOREIGN = 'not a dead letter: something else wrote into this list';

/** An entry of the list as a letter; a foreign entry becomes one with time 0 and an error to that effect. */
export function readLetter(entry: Buffer): DeadLetter & { readonly foreign?: true } {
  try {
    return parseDead(entry);
  } catch {
    return { error: FOREIGN, attempts: 0, worker: '', at: 0, raw: entry, foreign: true };
  }
}

/** The newest `most` dead letters, newest first, with their whole tasks. Throws `RangeError` if that is no whole number. */
export async function readDeadLetters(redis: Redis, keys: QueueKeys, most = 100): Promise<DeadLetter[]> {
  if (!Number.isSafeInteger(most)) throw new RangeError(`a number of dead letters is whole: got ${most}`);
  if (most < 1) return [];
  const entries = await redis.lrangeBuffer(keys.dead, 0, most - 1);
  return entries.map((entry) => {
    const { foreign: _, ...letter } = readLetter(entry);
    return letter;
  });
}

/** A dead letter truncated for display, of any size that a client gave it. */
export interface DeadHead extends DeadHeader {
  /** As of a `DeadLetter`. */
  readonly at: number;
  /** The beginning of the task, and the length of the whole, bytes. */
  readonly start: Buffer;
  readonly size: number;
  /** Of the entry: identifies it for `moveDeadLetters`. */
  readonly digest: string;
}

/** A longer header is replaced by one with a truncated id and error. */
const HEADER_BYTES = 4_096;

/** The beginnings of the newest `most` dead letters, newest first: `taskBytes` of each task. Throws `UnexpectedReply`. */
export async function readDeadHeads(
  redis: Redis,
  keys: QueueKeys,
  most: number,
  taskBytes: number,
): Promise<DeadHead[]> {
  const heads = await script(redis, 'heads')(keys.dead, most, HEADER_BYTES, taskBytes);
  return asList(heads, 'the dead letters')
    .slice(0, most)
    .map((head) => readHead(head, taskBytes));
}

function readHead(head: unknown, taskBytes: number): DeadHead {
  const [line, start, size, digest] = asList(head, 'a dead letter', 4);
  const {
    raw: _,
    foreign,
    ...letter
  } = readLetter(Buffer.concat([asBytes(line, 'its header'), Buffer.from('\n')]));
  const beginning = asBytes(foreign ? line : start, 'its task').subarray(0, taskBytes);
  const whole = typeof size === 'number' && size >= 0 ? size : beginning.length;
  return { ...letter, start: beginning, size: whole, digest: asText(digest, 'its digest', 40) };
}

/** Letters examined per call of the script, which blocks the server. */
const BATCH = 50;

/**
 * Moves dead letters inside Redis, oldest first: those with these digests, or all. Resolves to the number moved. Letters added
 * meanwhile are left for the next call. Throws `UnexpectedReply`.
 */
export async function moveDeadLetters(
  redis: Redis,
  keys: QueueKeys,
  how: 'requeue' | 'drop',
  digests: readonly string[] | 'all',
): Promise<number> {
  if (digests.length === 0) return 0;
  const named = digests === 'all' ? [] : digests;
  const { queue, dead, errors, cancelled } = keys;
  await using requests = openRequests(redis, keys);
  let left = await redis.llen(dead);
  let moved = 0;
  for (let stayed = 0; left > 0;) {
    const most = Math.min(left, BATCH);
    const args = [how, most, stayed, ...named];
    const reply = await requests.send(
      (answers, about) => script(redis, 'move')(queue, dead, errors, cancelled, answers, ...args, about),
      (told) => Array.isArray(told) && told[0] !== 0,
    );
    const [first, second, end] = asList(reply, 'what was moved', 3);
    const [gone, kept] = [asCount(first, 'letters moved'), asCount(second, 'letters left')];
    moved += gone;
    stayed += kept;
    left -= gone + kept;
    if (end === 1 || gone + kept === 0) break;
  }
  return moved;
}

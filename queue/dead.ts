/**
 * Dead letters: tasks that failed for good, with the reason. An entry of the list is the time, a header as JSON, a
 * line feed and the task's bytes, so that any bytes can be a dead letter too.
 */
import type { Redis } from 'ioredis';
import type { QueueKeys } from './keys.ts';

export interface DeadHeader {
  readonly error: string;
  /** Tries in all. */
  readonly attempts: number;
  readonly worker: string;
  /** With a poison task, the deliveries that its workers did not survive. */
  readonly deliveries?: number;
  /** The task's id, where it is not the whole task. */
  readonly id?: string;
  /** Not dead, but cancelled: only ever found among the errors. */
  readonly cancelled?: true;
}

export interface DeadLetter extends DeadHeader {
  /** ms of Redis time. */
  readonly at: number;
  readonly raw: Buffer;
}

export function deadHeader(header: DeadHeader): string {
  return JSON.stringify(header);
}

/** A header from the errors hash; whatever else is found there is the error itself. */
export function parseHeader(text: Buffer): DeadHeader {
  try {
    return JSON.parse(text.toString()) as DeadHeader;
  } catch {
    return { error: text.toString(), attempts: 0, worker: '' };
  }
}

/** Throws `SyntaxError` for what is no entry of ours. */
export function parseDead(entry: Buffer): DeadLetter {
  const space = entry.indexOf(' ');
  const end = entry.indexOf('\n');
  if (space < 0 || end < space)
    throw new SyntaxError('not a dead letter: something else wrote into this list');
  const header = JSON.parse(entry.toString('utf8', space + 1, end)) as DeadHeader;
  return { ...header, at: Number(entry.toString('latin1', 0, space)), raw: entry.subarray(end + 1) };
}

/** The newest `count` dead letters, newest first. */
export async function listDead(redis: Redis, keys: QueueKeys, count = 100): Promise<DeadLetter[]> {
  if (count < 1) return [];
  const entries = await redis.lrangeBuffer(keys.dead, 0, count - 1);
  return entries.map(parseDead);
}

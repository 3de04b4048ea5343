/**
 * Reads data that clients wrote, of any length: read.lua truncates it in Redis. The controller reads only this way
 * (connection/untrusted.ts allows nothing else), and so does everything that shows a queue to people.
 */
import type { Redis } from 'ioredis';
import { asList, asText } from './decode-reply.ts';
import { script } from './scripts.ts';

export interface Cut {
  /** Longest text, bytes. */
  readonly bytes: number;
  /** Most texts and numbers in a reply. */
  readonly values: number;
}

/** Runs a read-only command: texts in the reply are Buffers of at most `bytes`. */
export function readCut(
  redis: Redis,
  key: string,
  { bytes, values }: Cut,
  command: string,
  ...args: (string | number)[]
): Promise<unknown> {
  return script(redis, 'read')(key, bytes, values, command, ...args);
}

/** As `readCut`, for a reply that is a list of texts. Throws `UnexpectedReply` if it is not. */
export async function readTexts(
  redis: Redis,
  key: string,
  cut: Cut,
  command: string,
  ...args: (string | number)[]
): Promise<string[]> {
  const found = asList(await readCut(redis, key, cut, command, ...args), `the reply to ${command}`);
  return found.map((one) => asText(one, `the reply to ${command}`, cut.bytes));
}

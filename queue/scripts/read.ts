/**
 * Reading what clients may have written, of any length, without believing that it is short: read.lua cuts it in Redis. This is how
 * the controller reads (connection/untrusted.ts refuses it anything else), and how whatever else shows a queue to people does.
 */
import type { Redis } from 'ioredis';
import { asList, asText } from './decode-reply.ts';
import { script } from './scripts.ts';

export interface Cut {
  /** The most bytes of a text. */
  readonly bytes: number;
  /** The most texts and numbers of a reply. */
  readonly values: number;
}

/** Runs a command that only reads: texts of the reply are Buffers of at most `bytes`. */
export function readCut(
  redis: Redis,
  key: string,
  { bytes, values }: Cut,
  command: string,
  ...args: (string | number)[]
): Promise<unknown> {
  return script(redis, 'read')(key, bytes, values, command, ...args);
}

/** As `readCut`, where the reply is a list of texts: those that are none are left out. */
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

/** A worker that is about to begin a unique task asks whether it may (claim.lua). */
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../keys.ts';
import { script } from '../scripts/scripts.ts';

export interface Claim {
  readonly key: string;
  /** How long the key is kept at least, ms; 0 until the task has ended. */
  readonly forMs: number;
  readonly id: string;
  readonly receipt: string;
}

/** Resolves to the id of the task that has the key, `undefined` if this one has it now, `fenced` if the worker does not hold the task. */
export async function claimKey(
  redis: Redis,
  keys: QueueKeys,
  worker: string,
  { key, forMs, id, receipt }: Claim,
): Promise<{ readonly holder: string } | 'fenced' | undefined> {
  const args = [key, id, worker, receipt, forMs];
  const reply = (await script(redis, 'claim')(keys.stats, keys.inflight(worker), ...args)) as Buffer | null;
  if (reply === null) return 'fenced';
  const holder = reply.toString();
  return holder === '' ? undefined : { holder };
}

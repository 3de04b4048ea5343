/**
 * What a worker died of, in words, kept for a day under its name. Who sees the death writes it (the controller, `millrace
 * dev`), also when somebody else has put the tasks back already; who buries a task that its workers did not survive reads it.
 */
import type { Redis } from 'ioredis';
import { sleep } from '../../runtime/timers.ts';
import type { QueueKeys } from '../keys.ts';

const KEPT_S = 86_400;
const POLL_MS = 250;

/** `reason`: as short as `OOMKilled (exit code 137)`. */
export async function writeExitReason(
  redis: Redis,
  keys: QueueKeys,
  worker: string,
  reason: string,
): Promise<void> {
  await redis.set(keys.fate(worker), reason, 'EX', KEPT_S);
}

/**
 * The fate of a worker's last life; `undefined` when nobody has told it within `withinMs`: a task may come back sooner
 * than the word of what it did.
 */
export async function readExitReason(
  redis: Redis,
  keys: QueueKeys,
  worker: string,
  withinMs: number,
): Promise<string | undefined> {
  for (let waited = 0; ; waited += POLL_MS) {
    const fate = await redis.get(keys.fate(worker));
    if (fate !== null) return fate;
    if (waited >= withinMs) return undefined;
    await sleep(POLL_MS);
  }
}

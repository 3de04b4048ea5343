/**
 * Why a worker died, human-readable, kept for a day under its id. Written by whichever program observes the death (the
 * controller, `millrace dev`), even if the tasks were put back already; read by the worker that gives up on a poison task.
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
 * Why a worker last died; `undefined` if nothing is recorded within `withinMs`: a task may be redelivered before the death of
 * its worker is observed.
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

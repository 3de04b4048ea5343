/** Begins an epoch of a worker, and keeps its hash up to date (register.lua, note.lua). */
import { randomUUID } from 'node:crypto';
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../keys.ts';
import { script } from '../scripts/scripts.ts';

/** Begins an epoch; `undefined` while remains of an earlier one exist. Reap that one first. */
export async function register(
  redis: Redis,
  keys: QueueKeys,
  worker: string,
  leaseMs: number,
  about: Record<string, string | number>,
): Promise<number | undefined> {
  const epoch = await script(redis, 'register')(
    keys.workers,
    keys.worker(worker),
    keys.load,
    keys.leaving,
    keys.clock,
    worker,
    leaseMs,
    Math.floor(1_000 * Math.random()),
    randomUUID().slice(0, 13),
    ...Object.entries(about).flat(),
  );
  return Number(epoch) || undefined;
}

/** Sets fields of a worker's hash, and notes the server that it is connected to. Does nothing when the epoch is over. */
export async function note(
  redis: Redis,
  keys: QueueKeys,
  worker: string,
  epoch: number,
  fields: Readonly<Record<string, string | number>> = {},
): Promise<void> {
  await script(redis, 'note')(keys.worker(worker), epoch, ...Object.entries(fields).flat());
}

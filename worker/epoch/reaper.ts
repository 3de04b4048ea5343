/**
 * Every worker looks for lost ones now and then, and sweeps what is past its time, so that both are done also where no
 * controller runs.
 */
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../../queue/keys.ts';
import { recoverLost } from '../../queue/workers/recover.ts';
import { sweep } from '../../queue/workers/sweep.ts';
import type { Logger } from '../../runtime/log.ts';

export interface ReaperOptions {
  readonly redis: Redis;
  readonly keys: QueueKeys;
  /** The worker that looks. */
  readonly worker: string;
  readonly leaseMs: number;
  readonly log: Logger;
}

/** Returns what looks three times per lease when called often. Nobody waits for it, and it never fails. */
export function createReaper({ redis, keys, worker, leaseMs, log }: ReaperOptions): (now: number) => void {
  let last = performance.now();
  let looking = false;

  async function look(): Promise<void> {
    try {
      await recoverLost(redis, keys, log, worker);
      await sweep(redis, keys);
    } catch (error) {
      log.debug({ err: error }, 'could not look for lost workers and what is past its time');
    } finally {
      looking = false;
    }
  }

  return (now) => {
    if (looking || now - last <= leaseMs / 3) return;
    last = now;
    looking = true;
    void look();
  };
}

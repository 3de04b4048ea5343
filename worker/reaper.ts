/** Every worker looks for lost ones now and then, so that their tasks come back also where no controller runs. */
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../queue/keys.ts';
import { recoverLost } from '../queue/recover.ts';
import type { Logger } from '../runtime/log.ts';

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
    } catch (error) {
      log.debug({ error: (error as Error).message }, 'could not look for lost workers');
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

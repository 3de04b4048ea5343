/** The clean end of an epoch: the worker's tasks go back to the queue, and nothing of it remains in Redis. */
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../../../queue/keys.ts';
import { GRAVE_MS, reap } from '../../../queue/workers/reap.ts';
import type { Logger } from '../../../runtime/log.ts';
import type { Resender } from '../../turn/resend.ts';

export interface GoodbyeOptions {
  readonly redis: Redis;
  readonly keys: QueueKeys;
  readonly worker: string;
  readonly epoch: number;
  readonly resender: Resender;
  readonly log: Logger;
}

/** `certain`: no blocking move of the worker is pending in Redis. Never rejects: the lease covers what fails. */
export async function sayGoodbye(options: GoodbyeOptions, certain: boolean): Promise<void> {
  const { redis, keys, worker, epoch, resender, log } = options;
  // the order to drain has done its work
  redis.zrem(keys.leaving, worker).catch(() => undefined);
  try {
    const goodbye = reap(redis, keys, worker, epoch, 'leave', certain ? 0 : GRAVE_MS);
    const left = await Promise.race([goodbye, resender.expired]);
    if (left) log.info({ tasks: left }, 'tasks were handed back to the queue');
  } catch (error) {
    log.error(
      { err: error },
      'failed to hand back tasks on exit; other workers take over when the lease expires',
    );
  }
}

/** Puts back the tasks of workers whose lease has expired, and logs it: workers and the controller both do. */
import type { Redis } from 'ioredis';
import type { Logger } from '../../runtime/log.ts';
import { LogEvent } from '../../runtime/log-event.ts';
import type { QueueKeys } from '../keys.ts';
import { reapExpired } from './reap.ts';

/** `self`: the worker that calls this; its next turn reports what it lost itself. */
export async function recoverLost(redis: Redis, keys: QueueKeys, log: Logger, self?: string): Promise<void> {
  for (const [worker, tasks] of await reapExpired(redis, keys, self !== undefined)) {
    if (worker === self) continue;
    const about = { event: LogEvent.LeaseEnded, worker, tasks, queue: keys.queue };
    // mostly the second visit to one whose tasks are back already
    if (tasks === 0) log.debug(about, 'cleaned up after a lost worker');
    else log.warn(about, 'a worker lost its lease; its tasks are back in the queue');
  }
}

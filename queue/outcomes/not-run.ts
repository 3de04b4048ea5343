/** What a task says of itself (queue/task-options.ts), and whether it is run at all for that. */
import { partMarkOf } from '../batch-mark.ts';
import { BadTaskOptions, checkUniqueId, taskOptionsOf, type TaskOptions } from '../task-options.ts';
import { isLevelName } from '../priorities.ts';
import { taskHead, type ParsedTask } from '../task.ts';
import type { Past } from '../workers/past.ts';
import { formatDuration } from '../../runtime/duration.ts';
import type { Finished } from './outcome.ts';

/** Why a task is not run; `expired`: the moment, ms of Redis time. */
export interface NotRun {
  readonly error: string;
  readonly expired?: number;
}

export interface ReadOptions {
  readonly options?: TaskOptions;
  readonly notRun?: NotRun;
}

/** What is asked of the worker. */
export interface Judge {
  readonly queue: string;
  /** The list is a partition, or that of a priority, which can have neither batches nor unique tasks. */
  readonly inPartitions?: boolean;
  /** The time by the clock of Redis, as far as it is known, ms. */
  readonly redisNow: () => number;
}

const none: ReadOptions = {};

export function readOptions(
  { id, value }: ParsedTask,
  past: Past,
  { redisNow, queue, inPartitions }: Judge,
): ReadOptions {
  try {
    const options = taskOptionsOf(value);
    if (!options) return none;
    const { expiresAt, unique } = options;
    if (unique !== undefined) checkUniqueId(id);
    if (unique !== undefined && inPartitions)
      throw new BadTaskOptions(
        `it is unique ("${unique}"), and "${queue}" is ${isLevelName(queue) ? 'the list of a priority' : 'a partition of a queue'}: its key may be in another one`,
      );
    const notRun = expiresAt === undefined ? undefined : lateness(expiresAt, past, redisNow);
    return { options, ...(notRun && { notRun }) };
  } catch (error) {
    return { notRun: { error: (error as Error).message } };
  }
}

/**
 * Nothing for a task that is not too late. What has begun once, or may have, in a worker that was lost, goes on; and who requeues a task
 * that has expired wants it to run.
 */
function lateness(expiresAt: number, past: Past, redisNow: () => number): NotRun | undefined {
  if (past.attempts > 0 || past.deliveries > 0 || past.reprieved) return undefined;
  const lateMs = redisNow() - expiresAt;
  if (lateMs < 0) return undefined;
  const at = new Date(expiresAt).toISOString();
  const later = formatDuration(Math.round(lateMs));
  return {
    error: `it expired at ${at} and was not begun by then: a worker had it ${later} later`,
    expired: expiresAt,
  };
}

/** What a task that was not begun says of itself, as far as it is right. */
export function saidOf(raw: Buffer, id: string | Buffer): Pick<Finished, 'batch' | 'unique'> {
  const { value } = taskHead(raw);
  const right = <T>(read: () => T): T | undefined => {
    try {
      return read();
    } catch {
      return undefined;
    }
  };
  return {
    batch: right(() => partMarkOf(value, id, { raw })),
    unique: right(() => taskOptionsOf(value)?.unique),
  };
}

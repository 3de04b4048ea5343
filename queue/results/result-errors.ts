/** Why a result does not come. */
import { TaskCancelled } from '../cancel.ts';
import type { DeadHeader } from '../dead-letter-format.ts';
import { shortId } from '../task.ts';

export class ResultTimeout extends Error {
  override name = 'ResultTimeout';
}

/** The task failed for good: it is among the dead letters. */
export class TaskFailed extends Error {
  override name = 'TaskFailed';
  /** The error of the last attempt. */
  readonly reason: string;
  readonly attempts: number;
  readonly worker: string;
  constructor(
    id: string | Buffer,
    header: DeadHeader,
    message = `task ${shortId(id)} failed for good: ${header.error}`,
  ) {
    super(message);
    this.reason = header.error;
    this.attempts = header.attempts;
    this.worker = header.worker;
  }
}

/** The task was not begun before it expired, and not run: it is among the dead letters. */
export class TaskExpired extends TaskFailed {
  override name = 'TaskExpired';
  readonly expiredAt: Date;
  constructor(id: string | Buffer, header: DeadHeader & { readonly expired: number }) {
    super(id, header, `task ${shortId(id)} was not run: ${header.error}`);
    this.expiredAt = new Date(header.expired);
  }
}

/** The task was not run, because another one has its key. */
export class TaskDuplicate extends TaskFailed {
  override name = 'TaskDuplicate';
  /** The id of that one. */
  readonly of: string;
  constructor(id: string | Buffer, header: DeadHeader & { readonly duplicateOf: string }) {
    super(id, header, `task ${shortId(id)} is ${header.error}`);
    this.of = header.duplicateOf;
  }
}

export function lateResult(id: string | Buffer, ms: number): ResultTimeout {
  return new ResultTimeout(`no result of task ${shortId(id)} within ${ms} ms: it may still come`);
}

/** The error of a task that has one instead of a result. */
export function resultErrorOf(id: string | Buffer, header: DeadHeader): TaskCancelled | TaskFailed {
  if (header.cancelled) return new TaskCancelled(id);
  const { expired, duplicateOf } = header;
  if (typeof duplicateOf === 'string') return new TaskDuplicate(id, { ...header, duplicateOf });
  return Number.isFinite(expired)
    ? new TaskExpired(id, { ...header, expired: expired as number })
    : new TaskFailed(id, header);
}

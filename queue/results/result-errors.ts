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
  constructor(id: string | Buffer, header: DeadHeader) {
    super(`task ${shortId(id)} failed for good: ${header.error}`);
    this.reason = header.error;
    this.attempts = header.attempts;
    this.worker = header.worker;
  }
}

export function lateResult(id: string | Buffer, ms: number): ResultTimeout {
  return new ResultTimeout(`no result of task ${shortId(id)} within ${ms} ms: it may still come`);
}

/** The error of a task that has one instead of a result. */
export function resultErrorOf(id: string | Buffer, header: DeadHeader): TaskCancelled | TaskFailed {
  return header.cancelled ? new TaskCancelled(id) : new TaskFailed(id, header);
}

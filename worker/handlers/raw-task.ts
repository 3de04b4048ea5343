/** A task of a handler's own call, as what passes tasks on takes it: see `RawTask`. */
import { TaskAbort } from '../task/abort.ts';
import type { RawTask, TaskContext } from '../task/handler.ts';
import { onceAborted } from './child.ts';

/** Resolves to what is stored for the task, or rejects, when what `begin` passes it to has ended it. */
export async function runRaw(context: TaskContext, begin: (task: RawTask) => void): Promise<unknown> {
  const { id, raw, attempt, queue, trace, progress, spawn, signal } = context;
  const { promise, resolve, reject } = Promise.withResolvers<unknown>();
  const abort = new TaskAbort();
  const about = { id, raw, attempt, queue, trace, isJson: false };
  const together = (run: () => void): void => run();
  begin({ ...about, abort, together, progress, spawn, succeeded: resolve, failed: reject });
  const ending = onceAborted(signal, () => abort.abort(signal.reason as Error));
  return await promise.finally(ending);
}

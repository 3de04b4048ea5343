/** A handler that runs until it is stopped, so that its tasks stay in flight to be measured. */
import { once } from 'node:events';
import type { TaskContext } from '../../worker/task/handler.ts';

// a task module: its default export is what a worker loads
// oxlint-disable-next-line import/no-default-export
export default async (_task: unknown, { signal }: TaskContext): Promise<never> => {
  await once(signal, 'abort');
  throw signal.reason;
};

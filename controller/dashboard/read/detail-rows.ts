/** The rows of a pool's page made of what was read: cut to what a page shows, and without what it may not show. */
import { sentence } from '../../../kube/conditions.ts';
import type { DeadHead } from '../../../queue/dead-letter-format.ts';
import type { WorkerView } from '../../../queue/inspect.ts';
import type { ListedWorkers } from '../../../queue/sources/list-workers.ts';
import { shortId } from '../../../queue/task.ts';
import { plainText } from '../../../runtime/plain-text.ts';
import type { DeadRow, SourceView } from '../api.ts';

export const WORKERS_SHOWN = 200;
export const LONGEST_TASK = 300;
export const LONGEST_ID = 80;
const LONGEST_ERROR = 1_000;
const LONGEST_NAME = 200;

/** Without leave to show tasks, of its error only the kind. */
export function deadRow(ref: string, queue: string, letter: DeadHead, showTasks: boolean): DeadRow {
  const { at, attempts, deliveries, worker, error, id, start } = letter;
  const shown = showTasks
    ? {
        error: plainText(error, LONGEST_ERROR),
        id: shortId(id ?? start, LONGEST_ID),
        text: shortId(start, LONGEST_TASK),
      }
    : { error: kindOf(error), id: null, text: null };
  return {
    ref,
    queue,
    at: at === 0 ? null : at,
    attempts,
    deliveries: deliveries ?? null,
    worker: plainText(worker, LONGEST_ID),
    ...shown,
  };
}

/** Names and hosts are chosen by whoever starts a worker. */
export function sourceView({ workers, notes }: ListedWorkers): SourceView {
  const list = workers
    .slice(0, WORKERS_SHOWN)
    .map(({ id, host, state, tasks, tasksShared, idleMs, ageMs }) => ({
      id: plainText(id, LONGEST_NAME),
      host: host === undefined ? null : plainText(host, LONGEST_NAME),
      state,
      tasks,
      tasksShared,
      idleMs: idleMs ?? null,
      ageMs,
    }));
  return { all: workers.length, list, notes: notes.map(sentence) };
}

/** Silent workers first, then the busiest, then the oldest. */
export function rank(a: WorkerView, b: WorkerView): number {
  return (
    Number(b.leaseLeft <= 0) - Number(a.leaseLeft <= 0) ||
    b.inFlight - a.inFlight ||
    a.started - b.started ||
    a.id.localeCompare(b.id)
  );
}

/** The kind of an error, without the handler's message, which may quote the task. */
export function kindOf(error: string): string {
  const words = error.replace(/^not to be retried: /, '');
  const own = /^delivered \d+ times.*|^exit code \d+|^killed by SIG[A-Z]+/.exec(words);
  if (own) return own[0];
  const named = /^([A-Z][A-Za-z]{2,60}(?:Error|Exception|Failure|Failed)): /.exec(words);
  return named?.[1] ?? 'an error whose words are hidden';
}

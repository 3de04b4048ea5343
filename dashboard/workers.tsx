import type { WorkerRow, WorkersView } from '../controller/dashboard/api.ts';
import { formatCount, formatMs, plural } from './format.ts';
import { Nothing, Section } from './section.tsx';

export interface WorkersProps {
  readonly workers: WorkersView | null;
  readonly now: number;
  readonly showTasks: boolean;
}

/** The pool's workers, and the tasks that they run. */
export function Workers({ workers, now, showTasks }: WorkersProps) {
  if (!workers)
    return (
      <Section title="Workers">
        <Nothing>Redis does not answer: the workers are unknown.</Nothing>
      </Section>
    );
  const { all, list } = workers;
  const note =
    all > list.length ? `the ${list.length} busiest of ${formatCount(all)}` : plural(all, 'worker');
  const several = new Set(list.map(({ queue }) => queue)).size > 1;
  return (
    <Section title="Workers" note={note}>
      {all === 0 ? (
        <Nothing>No worker is registered. The first task starts one.</Nothing>
      ) : (
        <div class="scroll" tabIndex={0} role="group" aria-label="Workers">
          <table class="plain">
            <thead>
              <tr>
                <th scope="col">Worker</th>
                {several && <th scope="col">Queue</th>}
                <th scope="col">State</th>
                <th scope="col" class="num">
                  In flight
                </th>
                <th scope="col" class="num">
                  Up for
                </th>
              </tr>
            </thead>
            <tbody>
              {list.map((worker) => (
                <Worker
                  key={`${worker.queue} ${worker.id}`}
                  worker={worker}
                  several={several}
                  now={now}
                  showTasks={showTasks}
                />
              ))}
            </tbody>
          </table>
        </div>
      )}
    </Section>
  );
}

interface WorkerProps {
  readonly worker: WorkerRow;
  readonly several: boolean;
  readonly now: number;
  readonly showTasks: boolean;
}

function Worker({ worker, several, now, showTasks }: WorkerProps) {
  const { id, queue, state, inFlight, concurrency, slotsWhy, started, silent, tasks } = worker;
  return (
    <tr>
      <th scope="row">
        <span class="id">{id}</span>
        {slotsWhy !== '' && (
          <span class="task">
            {formatCount(concurrency)} {concurrency === 1 ? 'slot' : 'slots'}: {slotsWhy}
          </span>
        )}
        {showTasks &&
          tasks.map((task) => (
            <span key={task.id} class="task" title={task.text}>
              {task.id}
              {task.progress !== null && <span class="progress"> {task.progress}</span>}
            </span>
          ))}
        {showTasks && tasks.length > 0 && inFlight > tasks.length && (
          <span class="task more">and {formatCount(inFlight - tasks.length)} more</span>
        )}
      </th>
      {several && <td>{queue}</td>}
      <td class={silent ? 'late' : undefined}>{silent ? 'silent' : state}</td>
      <td class="num">
        {formatCount(inFlight)} <span class="of">of {formatCount(concurrency)}</span>
      </td>
      <td class="num">{formatMs(Math.max(0, now - started))}</td>
    </tr>
  );
}

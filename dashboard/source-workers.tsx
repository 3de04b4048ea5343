/** The workers of a pool that runs the tasks of another library, as far as that shows them. */
import type { SourceView, SourceWorkerRow } from '../controller/dashboard/api.ts';
import { formatCount, formatMs, plural } from './format.ts';
import { Nothing, Section } from './section.tsx';

export function SourceWorkerList({ source: { all, list, notes } }: { readonly source: SourceView }) {
  if (!list)
    return (
      <Section title="Workers">
        <Nothing>The workers cannot be read now.</Nothing>
      </Section>
    );
  const note =
    all > list.length ? `the ${list.length} busiest of ${formatCount(all)}` : plural(all, 'worker');
  return (
    <Section title="Workers" note={all === 0 ? undefined : note}>
      {all === 0 && notes.length === 0 && (
        <Nothing>The library shows no worker. The first task starts one.</Nothing>
      )}
      {all > 0 && <Table list={list} />}
      {notes.map((text) => (
        <p key={text} class="hint">
          {text}
        </p>
      ))}
    </Section>
  );
}

function Table({ list }: { readonly list: readonly SourceWorkerRow[] }) {
  const asking = list.some(({ idleMs }) => idleMs !== null);
  return (
    <div class="scroll" tabIndex={0} role="group" aria-label="Workers">
      <table class="plain">
        <thead>
          <tr>
            <th scope="col">Worker</th>
            <th scope="col">State</th>
            <th scope="col" class="num">
              Tasks
            </th>
            {asking && (
              <th scope="col" class="num">
                Last asked
              </th>
            )}
            <th scope="col" class="num">
              As of
            </th>
          </tr>
        </thead>
        <tbody>
          {list.map((worker) => (
            <Row key={`${worker.id} ${worker.host}`} worker={worker} asking={asking} />
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Row({ worker, asking }: { readonly worker: SourceWorkerRow; readonly asking: boolean }) {
  const { id, host, state, tasks, tasksShared, idleMs, ageMs } = worker;
  const among = tasksShared && tasks > 0;
  return (
    <tr>
      <th scope="row">
        <span class="id">{id}</span>
        {host !== null && host !== id && <span class="task">{host}</span>}
      </th>
      <td class={state === 'silent' ? 'late' : undefined}>{state}</td>
      <td class="num" title={among ? 'Which of several workers holds them is not known.' : undefined}>
        {among ? `≤ ${formatCount(tasks)}` : formatCount(tasks)}
      </td>
      {asking && <td class="num">{idleMs === null ? '–' : `${formatMs(idleMs)} ago`}</td>}
      <td class="num">{ageMs < 1_000 ? 'now' : `≤ ${formatMs(ageMs)} ago`}</td>
    </tr>
  );
}

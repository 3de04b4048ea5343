/** Sidekiq: queues without a process, processes without a heartbeat, and clocks that are off. */
import type { Ask } from '../ask.ts';
import { count } from '../question.ts';
import type { SidekiqSettings } from '../sidekiq.ts';
import { clockAhead, isSilent, readProcesses, withAges } from '../sidekiq-processes.ts';
import { adviseClock, adviseUnserved, type SourceAdvice } from './advice.ts';

export async function checkSidekiq({ queues }: SidekiqSettings, ask: Ask): Promise<SourceAdvice[]> {
  const { answers: waiting } = await ask(queues.map((queue) => count('LLEN', `queue:${queue}`)));
  const { now, processes } = await readProcesses(ask);
  const found = queues.map((queue, i) => ({
    queue,
    work: waiting[i] ?? 0,
    workers: processes.filter(({ takesFrom }) => takesFrom(queue)).length,
  }));
  const others = processes.filter(({ takesFrom }) => !queues.some(takesFrom));
  const ours = await withAges(
    ask,
    processes.filter(({ takesFrom }) => queues.some(takesFrom)),
  );
  const silent = ours.filter(isSilent);
  const [first] = silent;
  return [
    ...adviseUnserved(
      found,
      others.flatMap(({ queues: theirs }) => theirs),
    ),
    ...adviseClock(ours.map((one) => ({ id: one.identity, aheadMs: clockAhead(one, now) }))),
    ...(first
      ? [
          {
            note: `${silent.length === 1 ? '1 process has' : `${silent.length} processes have`} not beaten for ${ageOf(first, now)}, such as ${first.identity}: killed, short of CPU, or with a clock that is off`,
            todo: 'their pods count as busy until they beat again; a record without a heartbeat is gone after a minute. The jobs of a killed process are lost, unless it ran super_fetch: set its timeout (-t) and the terminationGracePeriodSeconds of the pods to more than the longest job',
          },
        ]
      : []),
  ];
}

function ageOf(
  { ageMs, beatAt }: { readonly ageMs: number | undefined; readonly beatAt: number },
  now: number,
): string {
  const age = Math.round((ageMs ?? now - beatAt) / 1_000);
  // what it wrote may be no time
  return age >= 0 && age < 1e9 ? `${age} s` : 'some time';
}

/** Sidekiq: queues without a process, and processes without a heartbeat. */
import type { Ask } from '../ask.ts';
import { count } from '../question.ts';
import type { SidekiqSettings } from '../sidekiq.ts';
import { isSilent, readProcesses } from '../sidekiq-processes.ts';
import { adviseUnserved, type SourceAdvice } from './advice.ts';

export async function checkSidekiq({ queues }: SidekiqSettings, ask: Ask): Promise<SourceAdvice[]> {
  const { answers: waiting } = await ask(queues.map((queue) => count('LLEN', `queue:${queue}`)));
  const { now, processes } = await readProcesses(ask);
  const found = queues.map((queue, i) => ({
    queue,
    work: waiting[i] ?? 0,
    workers: processes.filter(({ takesFrom }) => takesFrom(queue)).length,
  }));
  const others = processes.filter(({ takesFrom }) => !queues.some(takesFrom));
  const silent = processes.filter((one) => queues.some(one.takesFrom) && isSilent(one, now));
  const [first] = silent;
  return [
    ...adviseUnserved(
      found,
      others.flatMap(({ queues: theirs }) => theirs),
    ),
    ...(first
      ? [
          {
            note: `${silent.length} processes have not beaten for ${Math.round((now - first.beatAt) / 1_000)} s, such as ${first.identity}: killed, short of CPU, or with a clock that is off`,
            todo: 'their pods count as busy until they beat again; a record without a heartbeat is gone after a minute. The jobs of a killed process are lost, unless it ran super_fetch: set its timeout (-t) and the terminationGracePeriodSeconds of the pods to more than the longest job',
          },
        ]
      : []),
  ];
}

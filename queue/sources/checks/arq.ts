/** arq: a worker notes its health beside its queue, and nothing else of itself. */
import type { Ask } from '../ask.ts';
import type { ArqSettings } from '../arq.ts';
import { count } from '../question.ts';
import type { SourceAdvice } from './advice.ts';
import { plural } from '../../../runtime/plural.ts';

export async function checkArq({ queues }: ArqSettings, ask: Ask): Promise<SourceAdvice[]> {
  const { answers } = await ask(
    queues.flatMap((queue) => [
      count('ZCOUNT', queue, '-inf', { plusMs: 0, factor: 1, offset: 0 }),
      count('EXISTS', `${queue}:health-check`),
    ]),
  );
  return queues.flatMap((queue, i) => {
    const [work = 0, healthy = 0] = answers.slice(2 * i);
    if (work === 0 || healthy > 0) return [];
    return [
      {
        note: `no worker takes from the queue "${queue}", where ${plural(work, 'task waits', 'tasks wait')}: none has noted its health (key "${queue}:health-check")`,
        todo: 'see whether the pods start, and whether queue_name of WorkerSettings is this queue; a health_check_key of your own is not seen',
      },
    ];
  });
}

/** SAQ: queues without a worker, and jobs of workers that report nothing more. */
import type { Ask } from '../ask.ts';
import { count } from '../question.ts';
import { readQueueWorkers, type SaqSettings } from '../saq.ts';
import { adviseIf, adviseUnserved, type SourceAdvice } from './advice.ts';

export async function checkSaq({ queues }: SaqSettings, ask: Ask): Promise<SourceAdvice[]> {
  const found = await Promise.all(
    queues.map(async (queue) => {
      const { answers } = await ask({ waiting: count('LLEN', `saq:${queue}:queued`) });
      const { workers, holders } = await readQueueWorkers(ask, queue);
      const gone = holders.filter((holder) => holder !== undefined && !workers.includes(holder)).length;
      return { queue, work: answers.waiting, workers: workers.length, gone };
    }),
  );
  return [
    ...adviseUnserved(found),
    ...found.flatMap(({ queue, gone }) =>
      adviseIf(
        gone,
        (tasks) =>
          `${tasks} in hand of "${queue}" ${gone === 1 ? 'is' : 'are'} of a worker that reports nothing more`,
        'a live worker sweeps them after their timeout, and those without timeout and heartbeat never: set a timeout (10 s by default) above the longest job, or a heartbeat',
      ),
    ),
  ];
}

/** RQ: queues without a worker, jobs of workers that were killed, and scheduled jobs that no worker moves. */
import type { Ask } from '../ask.ts';
import { count, fields, existingKeys } from '../question.ts';
import { RQ_PREFIX, type RqSettings } from '../rq.ts';
import { adviseIf, adviseUnserved, type SourceAdvice } from './advice.ts';

const MOST_WORKERS = 500;
const NOW = { plusMs: 0, factor: 0.001, offset: 0 };

export async function checkRq({ queues, prefix = RQ_PREFIX }: RqSettings, ask: Ask): Promise<SourceAdvice[]> {
  const all = await ask({ workers: existingKeys(`${prefix}:workers`, MOST_WORKERS) });
  const { answers: about } = await ask(all.answers.workers.map((key) => fields(key, 'queues')));
  // a worker that was killed leaves its name, and no record
  const takesFrom = about.flatMap(([names]) => (names === undefined ? [] : [names.split(',')]));
  const { answers } = await ask(
    queues.flatMap((queue) => [
      count('LLEN', `${prefix}:queue:${queue}`),
      count('ZCOUNT', `${prefix}:scheduled:${queue}`, '-inf', NOW),
      count('EXISTS', `${prefix}:scheduler-lock:${queue}`),
      count('ZCOUNT', `${prefix}:wip:${queue}`, '-inf', NOW),
    ]),
  );
  const found = queues.map((queue, i) => {
    const [waiting = 0, due = 0, schedulers = 0, abandoned = 0] = answers.slice(4 * i);
    const workers = takesFrom.filter((names) => names.includes(queue)).length;
    return { queue, work: waiting, workers, abandoned, unmoved: schedulers > 0 ? 0 : due };
  });
  const elsewhere = takesFrom.filter((names) => !names.some((name) => queues.includes(name))).flat();
  return [
    ...adviseUnserved(found, elsewhere),
    ...found.flatMap(({ queue, unmoved }) =>
      adviseIf(
        unmoved,
        (tasks) =>
          `${tasks} scheduled in "${queue}" ${isAre(unmoved)} due, and no worker there has a scheduler`,
        'start at least one worker of this queue with --with-scheduler: no other moves them',
      ),
    ),
    ...found.flatMap(({ queue, abandoned }) =>
      adviseIf(
        abandoned,
        (tasks) => `${tasks} of "${queue}" ran out of time without an end: the worker was killed`,
        'they count as work until a worker starts, which retries them or gives them up; set job_timeout and the terminationGracePeriodSeconds of the pods to more than the longest job',
      ),
    ),
  ];
}

function isAre(tasks: number): string {
  return tasks === 1 ? 'is' : 'are';
}

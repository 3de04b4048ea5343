/** asynq: queues without a server, tasks whose lease has run out, and clocks that are off. */
import type { Ask } from '../ask.ts';
import { readServers, RECORD_MS, type AsynqSettings } from '../asynq.ts';
import { count } from '../question.ts';
import { adviseClock, adviseIf, adviseUnserved, type SourceAdvice } from './advice.ts';

export async function checkAsynq({ queues }: AsynqSettings, ask: Ask): Promise<SourceAdvice[]> {
  const servers = await readServers(ask);
  const { answers } = await ask(
    queues.flatMap((queue) => [
      count('LLEN', `asynq:{${queue}}:pending`),
      count('ZCOUNT', `asynq:{${queue}}:lease`, '-inf', { plusMs: 0, factor: 0.001, offset: 0 }),
    ]),
  );
  const found = queues.map((queue, i) => ({
    queue,
    work: answers[2 * i] ?? 0,
    workers: servers.filter(({ takesFrom }) => takesFrom(queue)).length,
    expired: answers[2 * i + 1] ?? 0,
  }));
  const others = servers.filter(({ takesFrom }) => !queues.some(takesFrom)).length;
  return [
    ...adviseUnserved(found, others),
    ...adviseClock(
      servers
        .filter(({ takesFrom }) => queues.some(takesFrom))
        .map(({ key, aheadMs }) => ({
          id: key.replace(/^asynq:servers:\{(.*)\}$/, '$1'),
          aheadMs: clockAhead(aheadMs),
        })),
    ),
    ...found.flatMap(({ queue, expired }) =>
      adviseIf(
        expired,
        (tasks) => `the lease of ${tasks} of "${queue}" has run out: the server was killed`,
        'a live server puts them into retry within a minute; set the terminationGracePeriodSeconds of the pods to more than ShutdownTimeout and the longest task',
      ),
    ),
  ];
}

/** By how long a record is to stay; 0 where the clocks agree by some seconds. */
function clockAhead(aheadMs: number): number {
  if (aheadMs < 0) return aheadMs;
  return aheadMs > 2 * RECORD_MS ? aheadMs - RECORD_MS : 0;
}

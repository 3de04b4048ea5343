/** BullMQ: queues without a worker, jobs whose lock has run out, and limits that no key shows. */
import type { Redis } from 'ioredis';
import type { Ask } from '../ask.ts';
import { activeIn, readConnections, type BullMqSettings } from '../bullmq.ts';
import { count, fields } from '../question.ts';
import { adviseIf, adviseUnserved, type SourceAdvice } from './advice.ts';

export async function checkBullMq(
  { queues, prefix }: BullMqSettings,
  ask: Ask,
  redis: Redis,
): Promise<SourceAdvice[]> {
  const connections = await readConnections(redis, prefix);
  const found = await Promise.all(
    queues.map(async (queue) => {
      const base = `${prefix}:${queue}`;
      const [{ answers }, active] = await Promise.all([
        ask({
          wait: count('LLEN', `${base}:wait`),
          prioritized: count('ZCARD', `${base}:prioritized`),
          starts: count('EXISTS', `${base}:limiter`),
          limit: fields(`${base}:meta`, 'max'),
        }),
        activeIn(ask, base),
      ]);
      return {
        queue,
        work: answers.wait + answers.prioritized,
        workers: connections.filter((one) => one.queue === queue).length,
        unlocked: active.filter(({ locked }) => !locked).length,
        limitHidden: answers.starts > 0 && answers.limit[0] === undefined,
      };
    }),
  );
  const elsewhere = connections.map(({ queue }) => queue).filter((queue) => !queues.includes(queue));
  return [
    ...adviseUnserved(found, elsewhere),
    ...found.flatMap(({ queue, work, limitHidden }) =>
      adviseIf(
        limitHidden ? work : 0,
        (tasks) =>
          `${tasks} of "${queue}" may wait for the rate limit of its workers (limiter), which no key shows`,
        'what waits asks for replicas that may start nothing: set the limit with queue.setGlobalRateLimit, which is read, or maxReplicas',
      ),
    ),
    ...found.flatMap(({ queue, unlocked }) =>
      adviseIf(
        unlocked,
        (tasks) =>
          `${tasks} in hand of "${queue}" ${unlocked === 1 ? 'has' : 'have'} no lock: the worker was killed, or blocks its event loop for longer than lockDuration (30 s by default)`,
        'a live worker gives them to another after stalledInterval, so a job that still runs is run twice: raise lockDuration beyond the longest blocking stretch, or use a sandboxed processor',
      ),
    ),
  ];
}

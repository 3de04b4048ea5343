/** Dramatiq: messages of workers without a heartbeat. Which queues a worker takes from is in no key. */
import type { Ask } from '../ask.ts';
import { DEFAULT_NAMESPACE, type DramatiqSettings } from '../dramatiq.ts';
import { count, texts } from '../question.ts';
import { adviseIf, type SourceAdvice } from './advice.ts';

const MOST_CLIENTS = 500;
/** `heartbeat_timeout` of RedisBroker, by default, ms. */
const TIMEOUT_MS = 60_000;

export async function checkDramatiq(
  { queues, namespace = DEFAULT_NAMESPACE }: DramatiqSettings,
  ask: Ask,
): Promise<SourceAdvice[]> {
  const before = { plusMs: -TIMEOUT_MS, factor: 1, offset: 0 };
  const { answers: dead } = await ask([
    texts('ZRANGE', `${namespace}:__heartbeats__`, '-inf', before, 'BYSCORE', 'LIMIT', 0, MOST_CLIENTS),
  ]);
  const clients = dead.flat();
  const held = await Promise.all(
    queues.map(async (queue) => {
      const { answers } = await ask(
        clients.map((id) => count('SCARD', `${namespace}:__acks__.${id}.${queue}`)),
      );
      return { queue, tasks: answers.reduce((sum, one) => sum + one, 0) };
    }),
  );
  return held.flatMap(({ queue, tasks: count_ }) =>
    adviseIf(
      count_,
      (tasks) =>
        `${tasks} in hand of "${queue}" ${count_ === 1 ? 'is' : 'are'} of workers without a heartbeat for a minute: killed`,
      'live workers put them back by chance, within minutes; set the terminationGracePeriodSeconds of the pods to more than the longest task',
    ),
  );
}

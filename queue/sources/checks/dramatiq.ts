/**
 * Dramatiq: queues that nobody takes from, and messages of workers without a heartbeat. Which queues a worker takes from is in no
 * key, but where messages wait, one that takes from their queue holds some of them.
 */
import type { Ask } from '../ask.ts';
import { DEFAULT_NAMESPACE, type DramatiqSettings } from '../dramatiq.ts';
import { count, texts, type Argument } from '../question.ts';
import { adviseIf, type SourceAdvice } from './advice.ts';

const MOST_CLIENTS = 500;
/** `heartbeat_timeout` of RedisBroker, by default, ms. */
const TIMEOUT_MS = 60_000;
const TIMED_OUT = { plusMs: -TIMEOUT_MS, factor: 1, offset: 0 };

export async function checkDramatiq(
  { queues, namespace = DEFAULT_NAMESPACE }: DramatiqSettings,
  ask: Ask,
): Promise<SourceAdvice[]> {
  const clients = async (from: Argument, to: Argument): Promise<readonly string[]> => {
    const key = `${namespace}:__heartbeats__`;
    const { answers } = await ask([texts('ZRANGE', key, from, to, 'BYSCORE', 'LIMIT', 0, MOST_CLIENTS)]);
    return answers.flat();
  };
  const heldBy = async (ids: readonly string[], queue: string): Promise<number> => {
    const { answers } = await ask(ids.map((id) => count('SCARD', `${namespace}:__acks__.${id}.${queue}`)));
    return answers.reduce((sum, one) => sum + one, 0);
  };
  const [dead, alive] = await Promise.all([
    clients('-inf', TIMED_OUT),
    clients({ ...TIMED_OUT, exclusive: true }, '+inf'),
  ]);
  const found = await Promise.all(
    queues.map(async (queue) => {
      const [{ answers }, abandoned, held] = await Promise.all([
        ask({ waiting: count('LLEN', `${namespace}:${queue}`) }),
        heldBy(dead, queue),
        heldBy(alive, queue),
      ]);
      return { queue, waiting: answers.waiting, abandoned, held };
    }),
  );
  return [
    ...found.flatMap(({ queue, waiting, held }) =>
      held > 0 ? [] : adviseUntaken(queue, waiting, alive.length),
    ),
    ...found.flatMap(({ queue, abandoned }) =>
      adviseIf(
        abandoned,
        (tasks) =>
          `${tasks} in hand of "${queue}" ${abandoned === 1 ? 'is' : 'are'} of workers without a heartbeat for a minute: killed`,
        'live workers put them back by chance, within minutes; set the terminationGracePeriodSeconds of the pods to more than the longest task',
      ),
    ),
  ];
}

function adviseUntaken(queue: string, waiting: number, alive: number): SourceAdvice[] {
  const who =
    alive === 0
      ? 'no worker or client has had a heartbeat for a minute'
      : alive === 1
        ? 'the one worker or client with a heartbeat holds no message of it'
        : `none of the ${alive} workers and clients with a heartbeat holds a message of it`;
  return adviseIf(
    waiting,
    (tasks) =>
      `no worker takes from the queue "${queue}", where ${tasks} ${waiting === 1 ? 'waits' : 'wait'}: ${who}`,
    `see whether the pods start, and let their workers take from "${queue}" too (--queues), or correct spec.source`,
  );
}

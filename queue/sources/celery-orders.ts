/**
 * Drains Celery's workers by their remote control: they stop consuming, and are told to consume again where a drain is canceled.
 *
 * Workers of one pool may consume different queues (`-Q`), and one that consumes none reports none: so what each consumed is kept
 * in Redis when it is told to stop, for whichever controller cancels the drain.
 */
import type { Redis } from 'ioredis';
import { createAsk } from './ask.ts';
import type { CeleryControl } from './celery-control.ts';
import { text } from './question.ts';
import type { DrainOrders, SourceWorker } from './source.ts';

/** No drain takes longer. */
const KEPT_S = 86_400;

export function celeryOrders(control: CeleryControl, queues: readonly string[]): DrainOrders {
  const keyOf = (worker: string): string => `millrace:{celery:${queues[0]}}:consumed:${worker}`;
  /** Of these queues, those that each worker consumed when it was told to stop, where that is known. */
  const consumedBefore = async (
    redis: Redis,
    workers: readonly string[],
  ): Promise<ReadonlyMap<string, readonly string[]>> => {
    const { answers } = await createAsk(redis)(workers.map((worker) => text('GET', keyOf(worker))));
    return new Map(workers.map((worker, i) => [worker, namesIn(answers[i]).filter(isOurs)]));
  };
  const isOurs = (name: string): boolean => queues.includes(name);

  return {
    drain: async (redis, workers) => {
      const names = idsOf(workers);
      const [before, { queues: now }] = await Promise.all([
        consumedBefore(redis, names),
        control.ask(redis, 'no'),
      ]);
      await Promise.all(
        names.map(async (worker) => {
          const taken = (now.get(worker)?.answer ?? []).filter(isOurs);
          // one that has stopped in part had more before
          const all = [...new Set([...(before.get(worker) ?? []), ...taken])];
          if (all.length > 0) await redis.set(keyOf(worker), JSON.stringify(all), 'EX', KEPT_S);
        }),
      );
      await Promise.all(queues.map((queue) => control.order(redis, 'cancel_consumer', names, queue)));
    },
    resume: async (redis, workers) => {
      const names = idsOf(workers);
      const before = await consumedBefore(redis, names);
      const consumed = (worker: string, queue: string): boolean => {
        const known = before.get(worker) ?? [];
        return known.length === 0 || known.includes(queue);
      };
      await Promise.all(
        queues.map(async (queue) => {
          const those = names.filter((worker) => consumed(worker, queue));
          if (those.length > 0) await control.order(redis, 'add_consumer', those, queue);
        }),
      );
    },
  };
}

/** Those that have a name. */
function idsOf(workers: readonly SourceWorker[]): string[] {
  return workers.filter(({ hosts }) => hosts.length > 0).map(({ id }) => id);
}

function namesIn(kept: string | undefined): readonly string[] {
  try {
    const names: unknown = JSON.parse(kept || '[]');
    return Array.isArray(names) ? names.map(String) : [];
  } catch {
    return []; // too long to be read whole
  }
}

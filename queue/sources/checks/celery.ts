/**
 * Celery: queues that no worker takes from, by the workers' own answers, and lists of priorities that are not read. What workers
 * hold is in `Concern`s (celery-workers.ts).
 */
import type { Redis } from 'ioredis';
import type { Ask } from '../ask.ts';
import type { CeleryTask } from '../celery-control.ts';
import { controlOf, KOMBU_SEPARATOR, keysOf, type CelerySettings } from '../celery.ts';
import { readMessages } from '../celery-messages.ts';
import { count, lowestScore } from '../question.ts';
import { adviseUnserved, type SourceAdvice } from './advice.ts';
import { adviseVisibility, askSettings } from './celery-visibility.ts';

/** Celery's own, and the one of its documentation. */
const SEPARATORS = [KOMBU_SEPARATOR, ':'];
/** Priorities, unless `x-max-priority` is larger. */
const STEPS = [1, 2, 3, 4, 5, 6, 7, 8, 9];

export async function checkCelery(settings: CelerySettings, ask: Ask, redis: Redis): Promise<SourceAdvice[]> {
  const { queues } = settings;
  const { queues: said, active, now } = await controlOf(settings).ask(redis, 'no');
  const takesFrom = [...said.values()].filter(({ at }) => now - at < 30_000).map(({ answer }) => answer);
  const { queues: lists } = keysOf(settings);
  const found = await Promise.all(
    queues.map(async (queue, i) => {
      const { answers } = await ask((lists[i]?.lists ?? []).map((key) => count('LLEN', key)));
      const workers = takesFrom.filter((names) => names.includes(queue)).length;
      return { queue, work: answers.reduce((sum, one) => sum + one, 0), workers };
    }),
  );
  return [
    ...adviseUnserved(
      found,
      takesFrom.flat().filter((name) => !queues.includes(name)),
    ),
    ...(await adviseUnread(settings, ask)),
    ...(await adviseOutlasting(
      settings,
      ask,
      redis,
      [...active.values()].flatMap(({ answer }) => answer),
    )),
  ];
}

/** `running`: tasks, of which those that are not acknowledged are given to another worker after the visibility timeout. */
async function adviseOutlasting(
  settings: CelerySettings,
  ask: Ask,
  redis: Redis,
  running: readonly CeleryTask[],
): Promise<SourceAdvice[]> {
  const workers = await askSettings(redis, settings);
  const { keyPrefix = '' } = settings;
  const [{ now, unacked }, { answers }] = await Promise.all([
    readMessages(redis, { ...keysOf(settings), queues: [], exchanges: [] }),
    ask({ oldest: lowestScore(`${keyPrefix}unacked_index`) }),
  ]);
  const begun = running.flatMap((task) => (task.acknowledged ? [] : (task.begunAt ?? [])));
  const etas = unacked.flatMap(({ eta }) => eta ?? []);
  return adviseVisibility(workers, {
    now,
    fetchedAt: answers.oldest === undefined ? undefined : answers.oldest * 1_000,
    begunAt: begun.length === 0 ? undefined : Math.min(...begun),
    lastEta: etas.length === 0 ? undefined : Math.max(...etas),
  });
}

/** Of lists that a client with other transport options makes of the same queues. */
async function adviseUnread(settings: CelerySettings, ask: Ask): Promise<SourceAdvice[]> {
  const { queues, keyPrefix = '', separator = KOMBU_SEPARATOR } = settings;
  const read = new Set(keysOf(settings).queues.flatMap(({ lists }) => lists));
  const separators = [...new Set([separator, ...SEPARATORS])];
  const keys = queues
    .flatMap((queue) => separators.flatMap((sep) => STEPS.map((step) => `${keyPrefix}${queue}${sep}${step}`)))
    .filter((key) => !read.has(key));
  const { answers } = await ask(keys.map((key) => count('EXISTS', key)));
  const first = keys.find((_, i) => answers[i] !== 0);
  if (first === undefined) return [];
  return [
    {
      note: `the key ${JSON.stringify(first)} is there, and is not among the lists that are counted`,
      todo: 'set source.celery.prioritySteps and separator to priority_steps and sep of broker_transport_options, as your clients and workers have them',
    },
  ];
}

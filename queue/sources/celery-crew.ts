/** Celery's workers as they answer by remote control: who runs tasks, who takes from which queues, and who is silent. */
import type { Redis } from 'ioredis';
import { sleep } from '../../runtime/timers.ts';
import type { Answers, CeleryControl } from './celery-control.ts';
import type { Concern, SourceCrew, SourceWorker } from './source.ts';

/** How long all workers are waited for, in all, ms. */
const ANSWER_WAITS_MS = [20, 40, 80, 160, 300, 400];
/** Celery's default. */
const VISIBILITY_S = 3_600;

/**
 * Asks all workers, and waits a moment for all of them. One that is silent is nowhere, and may hold a task. `oldest`: when the
 * message was fetched that is unacknowledged for longest, s.
 */
export async function readCrew(
  redis: Redis,
  control: CeleryControl,
  queues: readonly string[],
  oldest: number | undefined,
): Promise<SourceCrew> {
  const first = await control.ask(redis, 0);
  let answers = first;
  let workers: SourceWorker[] = [];
  for (const ms of ANSWER_WAITS_MS) {
    await sleep(ms);
    answers = await control.ask(redis, 'no');
    workers = workersIn(answers, first.now);
    if (workers.length >= first.reached) break;
  }
  const silent = first.reached - workers.length;
  const nowhere: SourceWorker[] = silent > 0 ? [{ id: 'silent', hosts: [], tasks: silent }] : [];
  const concerns = [...silenceOf(silent, first.reached), ...strayIn(answers, queues), ...lateIn(oldest)];
  return { workers: [...workers, ...nowhere], unnamed: 0, concerns };
}

function silenceOf(silent: number, reached: number): Concern[] {
  if (silent <= 0) return [];
  return [
    {
      note: `${silent} of ${reached} Celery workers have not answered by remote control within a second`,
      todo: 'their pods are held until they answer: one with the solo pool does so between its tasks only; see whether the others have enough CPU',
      holds: true,
    },
  ];
}

/** Workers of these queues that take from others as well. */
function strayIn(answers: Answers, queues: readonly string[]): Concern[] {
  const strays = [...answers.queues].flatMap(([id, { answer }]) => {
    const other = answer.find((name) => !queues.includes(name));
    return other !== undefined && answer.some((name) => queues.includes(name)) ? [{ id, other }] : [];
  });
  const [first] = strays;
  if (!first) return [];
  return [
    {
      note: `${first.id} also takes from the queue "${first.other}", so it cannot be drained`,
      todo: 'name all queues of these workers in source.celery.queues',
      holds: true,
    },
  ];
}

function lateIn(oldest: number | undefined): Concern[] {
  if (oldest === undefined || Date.now() / 1e3 - oldest < VISIBILITY_S) return [];
  return [
    {
      note: 'a message is unacknowledged for more than an hour, the default visibility timeout: its task runs a second time unless that is longer',
      todo: 'set visibility_timeout of broker_transport_options to more than the longest task and the longest countdown',
      holds: false,
    },
  ];
}

/** Workers that have answered both questions, neither of which was asked before `since`. */
function workersIn({ active, queues }: Answers, since: number): SourceWorker[] {
  return [...active].flatMap(([id, { at, answer }]): SourceWorker[] => {
    const takesFrom = queues.get(id);
    if (at < since || !takesFrom || takesFrom.at < since) return [];
    return [
      {
        id,
        hosts: [id.slice(id.indexOf('@') + 1)],
        tasks: answer.length,
        quiet: takesFrom.answer.length === 0,
      },
    ];
  });
}

export async function orderAll(
  redis: Redis,
  control: CeleryControl,
  order: 'cancel_consumer' | 'add_consumer',
  workers: readonly SourceWorker[],
  queues: readonly string[],
): Promise<void> {
  const named = workers.filter(({ hosts }) => hosts.length > 0).map(({ id }) => id);
  await Promise.all(queues.map((queue) => control.order(redis, order, named, queue)));
}

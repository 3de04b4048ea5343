/** Celery's workers by their answers to remote control: their running tasks, their queues, and which of them are silent. */
import type { Redis } from 'ioredis';
import type { CeleryControl, WorkerAnswers } from './celery-control.ts';
import { awaitAnswers } from './celery-questions.ts';
import { VISIBILITY_S } from './celery-settings.ts';
import type { Concern, SourceWorkers, SourceWorker } from './source.ts';

/**
 * Asks all workers, and waits up to a second for their answers. A silent one has no known host, and may hold a task. `oldest`:
 * when the message that has been unacknowledged for longest was fetched, s.
 */
export async function askWorkers(
  redis: Redis,
  control: CeleryControl,
  queues: readonly string[],
  oldest: number | undefined,
): Promise<SourceWorkers> {
  const first = await control.ask(redis, 0);
  const answers = await awaitAnswers(
    () => control.ask(redis, 'no'),
    (found) => workersIn(found, first.now).length >= first.reached,
  );
  const workers = workersIn(answers, first.now);
  const silent = first.reached - workers.length;
  const unanswered: SourceWorker[] =
    silent > 0 ? [{ id: 'silent', hosts: [], tasks: silent, placeholder: true }] : [];
  const concerns = [
    ...(sharedConcern(answers) ?? silentConcern(silent, first.reached)),
    ...foreignQueueConcern(answers, queues),
    ...redeliveryConcern(oldest, first.now),
  ];
  return { workers: [...workers, ...unanswered], unnamed: 0, concerns };
}

/** Of the workers of one name, the last answer is that of all: which of them holds a task, and where, is not known. */
function sharedConcern({ shared }: WorkerAnswers): Concern[] | undefined {
  const [name] = shared;
  if (name === undefined) return undefined;
  return [
    {
      note: `several Celery workers have the name ${name}, so which of them holds a task is not known`,
      todo: 'give each worker the name of its pod, as Celery does by itself: -n NAME@%h, or no -n at all',
      holds: true,
    },
  ];
}

function silentConcern(silent: number, reached: number): Concern[] {
  if (silent <= 0) return [];
  return [
    {
      note: `${silent} of ${reached} Celery workers have not answered by remote control within a second`,
      todo: 'their pods are held until they answer: one with the solo pool does so between its tasks only; see whether the others have enough CPU, and whether accept_content has json and task_serializer is json or pickle',
      holds: true,
    },
  ];
}

/** About workers of these queues that also consume others. */
function foreignQueueConcern(answers: WorkerAnswers, queues: readonly string[]): Concern[] {
  const consumers = [...answers.queues].flatMap(([id, { answer }]) => {
    const other = answer.find((name) => !queues.includes(name));
    return other !== undefined && answer.some((name) => queues.includes(name)) ? [{ id, other }] : [];
  });
  const [first] = consumers;
  if (!first) return [];
  return [
    {
      note: `${first.id} also takes from the queue "${first.other}", so it cannot be drained`,
      todo: 'name all queues of these workers in source.celery.queues',
      holds: true,
    },
  ];
}

function redeliveryConcern(oldest: number | undefined, now: number): Concern[] {
  if (oldest === undefined || now / 1e3 - oldest < VISIBILITY_S) return [];
  return [
    {
      note: 'a message is unacknowledged for more than an hour, the default visibility timeout: its task runs a second time unless that is longer',
      todo: 'set visibility_timeout of broker_transport_options to more than the longest task and the longest countdown',
      holds: false,
    },
  ];
}

/** Workers that answered both questions, as sent at `since` or later. */
function workersIn({ active, queues }: WorkerAnswers, since: number): SourceWorker[] {
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

/**
 * Celery: tasks that outlast the visibility timeout, after which another worker gets them as well. How long that is stands in no key:
 * the workers are asked for their settings by remote control, as `celery inspect conf` does.
 */
import type { Redis } from 'ioredis';
import type { CelerySettings } from '../celery.ts';
import { awaitAnswers } from '../celery-questions.ts';
import { readSettings, type CelerySettingsOf } from '../celery-settings.ts';
import type { SourceAdvice } from './advice.ts';

/** The settings of all workers that answer within a second. */
export async function askSettings(
  redis: Redis,
  { queues, keyPrefix = '' }: CelerySettings,
): Promise<readonly CelerySettingsOf[]> {
  const list = `millrace:{celery:${queues[0]}}:settings`;
  const { now, reached } = await readSettings(redis, keyPrefix, list, true);
  if (reached === 0) return [];
  const fresh = await awaitAnswers(
    async () => (await readSettings(redis, keyPrefix, list, false)).settings.filter(({ at }) => at >= now),
    (settings) => settings.length >= reached,
  );
  return fresh.length >= reached ? fresh : [];
}

export interface Unacknowledged {
  /** Redis time, ms. */
  readonly now: number;
  /** When the message that has been unacknowledged for longest was fetched, ms. */
  readonly fetchedAt: number | undefined;
  /** When the unacknowledged task that has run for longest was begun, ms. */
  readonly begunAt: number | undefined;
  /** When the last of the fetched tasks with an ETA is due, ms. */
  readonly lastEta: number | undefined;
}

const REMEDY =
  'set visibility_timeout of broker_transport_options to more than the longest task and the longest countdown, for workers and clients';

/** By the shortest visibility timeout of the workers. Pure. */
export function adviseVisibility(
  workers: readonly CelerySettingsOf[],
  { now, fetchedAt, begunAt, lastEta }: Unacknowledged,
): SourceAdvice[] {
  const [worker] = workers.toSorted((a, b) => a.visibilityS - b.visibilityS);
  if (!worker) return [];
  const { visibilityS, limitS, acksLate } = worker;
  const since = Math.min(fetchedAt ?? now, begunAt ?? now);
  const heldS = (now - since) / 1_000;
  const aheadS = ((lastEta ?? now) - now) / 1_000;
  const shown = `the visibility timeout of ${worker.worker} is ${round(visibilityS)}`;
  const notes = [
    ...(heldS > visibilityS
      ? [`${shown}, and a message is unacknowledged for ${round(heldS)}: its task runs a second time`]
      : []),
    ...(aheadS > visibilityS
      ? [
          `${shown}, and a task that a worker has fetched is due in ${round(aheadS)}: it will run more than once`,
        ]
      : []),
    ...(acksLate && limitS !== undefined && limitS > visibilityS
      ? [
          `${shown}, and with task_acks_late a task may run for ${round(limitS)} (task_time_limit): it runs a second time then`,
        ]
      : []),
  ];
  return notes.map((note) => ({ note, todo: REMEDY }));
}

function round(seconds: number): string {
  return `${Math.round(seconds)} s`;
}

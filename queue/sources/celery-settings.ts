/**
 * Settings of Celery's workers that bear on how long one may keep a message, by its remote control, as `celery inspect conf` returns
 * them. They are in no key.
 */
import type { Redis } from 'ioredis';
import { asCount, asList } from '../scripts/decode-reply.ts';
import {
  answersIn,
  askWorkers,
  LONGEST,
  isItem,
  numberIn,
  parseAnswer,
  question,
  type Item,
} from './celery-questions.ts';

/** Of a worker's settings, what bears on how long it may keep a message. */
export interface CelerySettingsOf {
  readonly worker: string;
  /** When the question was asked, ms of Redis time. */
  readonly at: number;
  readonly visibilityS: number;
  /** `task_time_limit`. */
  readonly limitS: number | undefined;
  readonly acksLate: boolean;
}

export interface SettingsAnswers {
  /** Redis time, ms. */
  readonly now: number;
  readonly reached: number;
  readonly settings: readonly CelerySettingsOf[];
}

/** Settings are of use to whoever has just asked. */
const SETTINGS_TTL_S = 60;
/** Celery's default of `visibility_timeout`. */
export const VISIBILITY_S = 3_600;

/** The latest answers, after asking for them if `anew`, into a list of this name. One round trip. */
export async function readSettings(
  redis: Redis,
  keyPrefix: string,
  list: string,
  anew: boolean,
): Promise<SettingsAnswers> {
  return decode(
    await askWorkers(redis, {
      keyPrefix,
      list,
      questions: [question('conf', { with_defaults: false }, list)],
      leastMs: anew ? 0 : -1,
      longest: LONGEST,
      ttlS: SETTINGS_TTL_S,
    }),
  );
}

function decode(reply: unknown): SettingsAnswers {
  const what = 'settings of Celery workers';
  const [time, , reached, listed] = asList(reply, what, 4);
  const now = asCount(time, what);
  const settings = answersIn(listed, now, what).flatMap(({ inquiry, at, body }): CelerySettingsOf[] => {
    const [worker, about] = inquiry === 'conf' ? (parseAnswer(body) ?? []) : [];
    if (worker === undefined || !isItem(about)) return [];
    const { broker_transport_options: options, ...own } = about;
    const { visibility_timeout: visibility } = (options ?? {}) as Item;
    const [visibilityS, limitS] = [numberIn(visibility) ?? VISIBILITY_S, numberIn(own['task_time_limit'])];
    return [{ worker, at, visibilityS, limitS, acksLate: own['task_acks_late'] === true }];
  });
  return { now, reached: asCount(reached, what), settings };
}

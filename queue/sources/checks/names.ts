/**
 * Names of queues that are there, for a source whose own are not: what a wrong prefix, a wrong name or another library's settings
 * have left. Some 20,000 keys are looked at, by name only.
 */
import type { Redis } from 'ioredis';
import { plainText } from '../../../runtime/plain-text.ts';
import type { SourceSettings } from '../sources.ts';

const STEP = 1_000;
const MOST_STEPS = 20;
const MOST_NAMES = 100;
const LONGEST_NAME = 200;

/** Names in quotes, with the prefix where that is another one. None where the user may not list keys. */
export async function namesHere(redis: Redis, settings: SourceSettings): Promise<readonly string[]> {
  const nameOf = namesOf(settings);
  if (!nameOf) return [];
  const found = new Set<string>();
  let cursor = '0';
  for (let step = 0; step < MOST_STEPS; step++) {
    const reply = await redis.scan(cursor, 'COUNT', STEP).catch(() => undefined);
    if (!reply) break;
    for (const key of reply[1]) {
      const name = nameOf(plainText(key, LONGEST_NAME));
      if (name !== undefined) found.add(name);
    }
    cursor = reply[0];
    if (cursor === '0') break;
  }
  return [...found].toSorted().slice(0, MOST_NAMES);
}

type NameOf = (key: string) => string | undefined;

/** The name that a key shows, by the form that the library gives it. */
function namesOf(settings: SourceSettings): NameOf | undefined {
  const { rq, bullmq, asynq, sidekiq, celery, dramatiq, saq, arq } = settings;
  if (rq) return behind(/^(.+):(?:queue|wip|scheduled|workers):([^:]+)$/, rq.prefix ?? 'rq');
  if (bullmq) return behind(/^(.+):([^:]+):meta$/, bullmq.prefix);
  if (celery) return behind(/^(.*)_kombu\.binding\.(?!.*(?:pidbox|celeryev))(.+)$/, celery.keyPrefix ?? '');
  if (asynq) return only(/^asynq:\{(.+)\}:/);
  if (sidekiq) return only(/^queue:(.+)$/);
  if (saq) return only(/^saq:(.+):(?:queued|active|incomplete|stats)$/);
  if (arq) return only(/^(.+):health-check$/);
  if (dramatiq) return behind(/^(.+):(__heartbeats__)$/, dramatiq.namespace ?? 'dramatiq');
  const keys = settings.list?.keys ?? settings.stream?.keys ?? settings.taskiq?.queues;
  return keys && like(keys);
}

function only(form: RegExp): NameOf {
  return (key) => {
    const name = form.exec(key)?.[1];
    return name === undefined ? undefined : `"${name}"`;
  };
}

function behind(form: RegExp, own: string): NameOf {
  return (key) => {
    const [, prefix, name] = form.exec(key) ?? [];
    if (prefix === undefined || name === undefined) return undefined;
    const shown = name === '__heartbeats__' ? 'all queues' : `"${name}"`;
    return prefix === own ? shown : `${shown} with the prefix "${prefix}"`;
  };
}

/** Keys that have one of these names in them. */
function like(keys: readonly string[]): NameOf {
  const wanted = keys.map((key) => key.toLowerCase());
  return (key) =>
    wanted.some((one) => key.toLowerCase().includes(one)) &&
    !keys.includes(key) &&
    !key.startsWith('millrace:')
      ? `"${key}"`
      : undefined;
}

/**
 * Dramatiq on Redis (seen: 2.2.1). Its blind spots for a reader of one list:
 *
 * - A worker takes twice as many messages as it has threads off the list; `dramatiq:QUEUE.msgs` holds them until they are
 *   acknowledged, so what is in hand is its number less the list's.
 * - Delayed messages are in `QUEUE.DQ`, which any worker empties into its memory; they stay in `QUEUE.DQ.msgs`. Due times, ms, are
 *   inside of the messages, and without a worker nothing moves what is due. Of more than can be read, one counts as due: a pool with
 *   so many keeps a worker.
 * - Messages of a killed worker come back by chance, with the fetches of live workers, so they count.
 * - Workers are known by a random id, and clients are among them: who holds a message is not known.
 */
import { asList, asText } from '../scripts/decode-reply.ts';
import type { Ask } from './ask.ts';
import { count, question, waking, type Question } from './question.ts';
import { SourceTrouble, type Source, type SourceCounts } from './source.ts';

export interface DramatiqSettings {
  readonly queues: readonly string[];
  /** As `namespace` of RedisBroker. */
  readonly namespace?: string;
}

export const DEFAULT_NAMESPACE = 'dramatiq';

const MOST_DELAYED = 500;

export function dramatiqSource({ queues, namespace = DEFAULT_NAMESPACE }: DramatiqSettings): Source {
  return {
    kind: 'dramatiq',
    read: (ask, horizonMs) => Promise.all(queues.map((queue) => readQueue(ask, namespace, queue, horizonMs))),
    holding: { by: 'count', lagMs: 0 },
  };
}

async function readQueue(
  ask: Ask,
  namespace: string,
  queue: string,
  horizonMs: number,
): Promise<SourceCounts> {
  const list = `${namespace}:${queue}`;
  const { now, answers } = await ask({
    waiting: waking(count('LLEN', list)),
    messages: waking(count('HLEN', `${list}.msgs`)),
    delayed: waking(count('HLEN', `${list}.DQ.msgs`)),
    later: someTails(`${list}.DQ.msgs`, MOST_DELAYED),
    failed: count('ZCARD', `${list}.XQ`),
    known: count('EXISTS', `${namespace}:__heartbeats__`),
  });
  const { waiting, messages, delayed, failed, known } = answers;
  if (known + waiting + messages + delayed + failed === 0)
    throw new SourceTrouble(
      'NotFound',
      `there is nothing of Dramatiq here (no key "${namespace}:__heartbeats__")`,
      'check source.dramatiq.namespace (namespace of RedisBroker) and the database in the address of Redis; Dramatiq is there once a client or a worker has opened it',
    );
  const times = answers.later.map(dueIn).filter((time) => time !== undefined);
  const due = times.filter((time) => time <= now).length;
  return {
    now,
    waiting,
    inHand: Math.max(0, messages - waiting),
    delayed,
    due: times.length < delayed ? Math.max(1, due) : due,
    dueSoon: times.filter((time) => time > now && time <= now + horizonMs).length,
    nextDue: times.length > 0 ? Math.min(...times) : undefined,
    failed,
  };
}

/** When a message falls due, ms, by the end of its JSON. Exported for its test. */
export function dueIn(tail: string): number | undefined {
  // the last one: arguments stand before it
  const eta = [...tail.matchAll(/"eta":\s*(\d{1,16})\b/g)].at(-1)?.[1];
  return eta === undefined ? undefined : Number(eta);
}

/** The ends of the values of a hash; of a large one, of about `most`. */
function someTails(key: string, most: number): Question<string[]> {
  const what = `values of ${key}`;
  return question('HSCAN', key, [most], (reply) => asList(reply, what).map((one) => asText(one, what)));
}

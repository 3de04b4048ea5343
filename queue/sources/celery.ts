/**
 * Celery 5 (seen: 5.7.0 with kombu 5.7.0). Its blind spots for a reader of one list:
 *
 * - A queue is one list for each step of priorities, such as `mail`, `mail\x06\x163`, `mail\x06\x166` and `mail\x06\x169`, or `mail:3`,
 *   by the transport options `priority_steps` and `sep`.
 * - What workers have prefetched is in no list but in the hash `unacked`, one for all queues; a message there names its queue last.
 * - A running task is in no key at all, because a worker acknowledges before it starts (unless `acks_late`): only the workers
 *   know, and are asked by remote control (celery-control.ts).
 * - A task with an ETA stands among the others until a worker fetches it, and after that in `unacked` for as long as it takes. It
 *   is work when it is due, and only a running worker knows that.
 * - What a killed worker had fetched stays in `unacked` until the visibility timeout (1 h), when a running worker puts it back.
 */
import type { Redis } from 'ioredis';
import { sleep } from '../../runtime/timers.ts';
import type { Watched } from './ask.ts';
import { celeryControl, type CeleryControl, type WorkerAnswers } from './celery-control.ts';
import { celeryOrders } from './celery-orders.ts';
import { askWorkers } from './celery-workers.ts';
import { queueOfRoute, type Routed } from './celery-routes.ts';
import { readMessages, type CeleryKeys, type Messages } from './celery-messages.ts';
import { count, lowestScore, waking } from './question.ts';
import { SourceTrouble, type Source, type SourceCounts } from './source.ts';

export interface CelerySettings {
  readonly queues: readonly string[];
  /** As the transport option `priority_steps`. */
  readonly prioritySteps: readonly number[];
  /** Exchanges that the queues are bound to, where these are of other names. */
  readonly exchanges?: readonly string[];
  /** As the transport option `global_keyprefix`. */
  readonly keyPrefix?: string;
  /** As the transport option `sep`: what stands between the parts of a name. */
  readonly separator?: string;
}

/** Of kombu, if `sep` is not set. */
export const KOMBU_SEPARATOR = '\x06\x16';

/** The least time between two questions about running tasks, ms. */
const ASK_EVERY_MS = 900;
/** Age from which a worker's answer is ignored, ms. */
const ANSWERS_LAST_MS = 30_000;
/** How long a read that has found nothing waits for answers, ms. */
const ANSWERS_COME_MS = 60;
/** A worker knows of a task some ms before it counts as active. */
const LAG_MS = 1_000;

export function controlOf({ queues, keyPrefix = '' }: CelerySettings): CeleryControl {
  return celeryControl(keyPrefix, `millrace:{celery:${queues[0]}}:answers`);
}

export function celerySource(settings: CelerySettings): Source {
  const { queues, keyPrefix = '' } = settings;
  const control = controlOf(settings);
  const keys = keysOf(settings);
  return {
    kind: 'celery',
    read: (_, horizonMs, redis, watch) => readQueues({ redis, control, keys, settings, horizonMs }, watch),
    holding: {
      by: 'worker',
      lagMs: LAG_MS,
      readWorkers: async (ask, redis) => {
        const { answers } = await ask({ oldest: lowestScore(`${keyPrefix}unacked_index`) });
        return askWorkers(redis, control, queues, answers.oldest);
      },
      orders: celeryOrders(control, queues),
    },
  };
}

export function keysOf({
  queues,
  prioritySteps,
  exchanges = [],
  keyPrefix = '',
  separator = KOMBU_SEPARATOR,
}: CelerySettings): CeleryKeys {
  return {
    separator,
    unacked: `${keyPrefix}unacked`,
    exchanges: exchanges.map((name) => ({ name, key: `${keyPrefix}_kombu.binding.${name}` })),
    queues: queues.map((queue) => ({
      name: queue,
      binding: `${keyPrefix}_kombu.binding.${queue}`,
      lists: prioritySteps.map((step) => `${keyPrefix}${queue}${step === 0 ? '' : `${separator}${step}`}`),
    })),
  };
}

interface ReadInput {
  readonly redis: Redis;
  readonly control: CeleryControl;
  readonly keys: CeleryKeys;
  readonly settings: CelerySettings;
  readonly horizonMs: number;
}

/** Two scripts in one round trip; two more round trips if nothing is found and workers exist that may run something. */
async function readQueues(
  { redis, control, keys, settings, horizonMs }: ReadInput,
  watch: (one: Watched) => void,
): Promise<readonly SourceCounts[]> {
  const { queues, keyPrefix = '' } = settings;
  const [messages, answers] = await Promise.all([
    readMessages(redis, keys),
    control.ask(redis, ASK_EVERY_MS),
  ]);
  for (const { key, length } of messages.lists.flat())
    watch({ question: waking(count('LLEN', key)), reply: String(length) });
  const countAll = (found: Messages, said: WorkerAnswers): readonly SourceCounts[] =>
    queues.map((queue, i) =>
      countsOf({ queue, queues, lists: found.lists[i] ?? [], found, said, horizonMs }),
    );
  const counts = countAll(messages, answers);
  if (answers.reached === 0 && messages.known === 0) checkFound(queues, counts, keyPrefix);
  if (answers.reached === 0 || counts.some(({ waiting, inHand }) => waiting + inHand > 0)) return counts;
  // a task that is being fetched is in no key, and one that began after the last question is in no answer
  if (answers.asked < answers.now) await control.askAnew(redis);
  await sleep(ANSWERS_COME_MS);
  const [later, running] = await Promise.all([
    readMessages(redis, { ...keys, queues: [], exchanges: [] }),
    control.ask(redis, 'no'),
  ]);
  return countAll({ ...later, bindings: messages.bindings, lists: messages.lists }, running);
}

/** The answers of all workers that are still valid at `now`. */
function latest<T>(now: number, said: ReadonlyMap<string, { readonly at: number; readonly answer: T }>): T[] {
  return [...said.values()].flatMap(({ at, answer }) => (now - at < ANSWERS_LAST_MS ? [answer] : []));
}

interface CountInput {
  readonly queue: string;
  /** All of the pool. */
  readonly queues: readonly string[];
  /** The lists of this queue. */
  readonly lists: Messages['lists'][number];
  readonly found: Messages;
  readonly said: WorkerAnswers;
  readonly horizonMs: number;
}

function countsOf({ queue, queues, lists, found, said, horizonMs }: CountInput): SourceCounts {
  const { now, unacked } = found;
  const later = lists.flatMap(({ etas }) => etas).filter((eta) => eta !== undefined);
  const bindings = [...said.bindings, ...found.bindings];
  const isMine = (one: Routed): boolean => queueOfRoute(one, queues, bindings) === queue;
  const mine = unacked.filter(isMine).map(({ eta }) => eta);
  const held = mine.filter((eta) => eta !== undefined && eta > now) as number[];
  const acknowledged = latest(said.now, said.active)
    .flat()
    .filter((task) => task.acknowledged && isMine(task)).length;
  const etas = [...later, ...held];
  const ahead = etas.filter((eta) => eta > now);
  return {
    now,
    waiting: Math.max(0, lists.reduce((sum, { length }) => sum + length, 0) - later.length),
    inHand: mine.length - held.length + acknowledged + unreadOf(found, mine.length),
    delayed: etas.length,
    due: etas.length - ahead.length,
    dueSoon: ahead.filter((eta) => eta <= now + horizonMs).length,
    leaving: latest(said.now, said.queues).filter((names) => names.length === 0).length,
    nextDue: etas.length === 0 ? undefined : Math.floor(Math.min(...etas)),
  };
}

/** Estimates how many of the unread messages in `unacked` belong to a queue that has `mine` of those that were read. */
function unreadOf({ unacked, unread }: Messages, mine: number): number {
  return unacked.length === 0 ? 0 : Math.round((unread * mine) / unacked.length);
}

/** For queues that no key or worker shows to exist: throws unless there is a task. */
function checkFound(queues: readonly string[], counts: readonly SourceCounts[], keyPrefix: string): void {
  if (counts.some(({ waiting, inHand, delayed }) => waiting + inHand + delayed > 0)) return;
  const [queue = ''] = queues;
  throw new SourceTrouble(
    'NotFound',
    `there is no Celery queue "${queue}" here (no key "${keyPrefix}${queue}" or "${keyPrefix}_kombu.binding.${queue}"), and no worker listens`,
    'check queues and keyPrefix (global_keyprefix) of source.celery, and the database in the address of Redis; a queue is there once a task was sent to it, and one that is bound to an exchange of another name is found by source.celery.exchanges',
  );
}

/**
 * Celery 5 (seen: 5.7.0 with kombu 5.7.0). Its blind spots for a reader of one list:
 *
 * - A queue is one list for each step of priorities, such as `mail`, `mail\x06\x163`, `mail\x06\x166` and `mail\x06\x169`.
 * - What workers have prefetched is in no list but in the hash `unacked`, one for all queues; a message there names its queue last.
 * - A running task is in no key at all, because a worker acknowledges before it starts (unless `acks_late`): only the workers
 *   know, and are asked by remote control (celery-control.ts).
 * - A task with an ETA stands among the others until a worker fetches it, and after that in `unacked` for as long as it takes. It
 *   is work when it is due, and only a running worker knows that.
 * - What a killed worker had fetched stays in `unacked` until the visibility timeout (1 h), when a running worker puts it back.
 */
import { sleep } from '../../runtime/timers.ts';
import type { Redis } from 'ioredis';
import { asCount, asList, asText } from '../scripts/decode-reply.ts';
import { script } from '../scripts/scripts.ts';
import type { Ask } from './ask.ts';
import { celeryControl, type Answers, type RunningTask } from './celery-control.ts';
import { orderAll, readCrew } from './celery-crew.ts';
import { count, lowestScore, waking } from './question.ts';
import { SourceTrouble, type Source, type SourceLook } from './source.ts';

export interface CelerySettings {
  readonly queues: readonly string[];
  /** As the transport option `priority_steps`. */
  readonly prioritySteps: readonly number[];
  /** As the transport option `global_keyprefix`. */
  readonly keyPrefix?: string;
}

/** As many messages are read for their queue and ETA, of `unacked` and of each list. Others count as due, shared like those read. */
const MOST_UNACKED = 1_000;
const MOST_LISTED = 100;
/** What runs is asked for in looks that are at least so far apart; answers older than the second say nothing. ms. */
const ASK_EVERY_MS = 900;
const ASK_QUEUES_EVERY_MS = 4_500;
const ANSWERS_LAST_MS = 30_000;
/** A look waits so long for answers, where a worker has not answered yet or nothing seems to run, ms. */
const ANSWERS_COME_MS = 60;
/** A worker knows of a task some ms before it counts as active. */
const LAG_MS = 1_000;

type Active = Answers<readonly RunningTask[]>;

export function celerySource({ queues, prioritySteps, keyPrefix = '' }: CelerySettings): Source {
  const control = celeryControl(keyPrefix, `millrace:{celery:${queues[0]}}:answers`);
  const lists = queues.map((queue) =>
    prioritySteps.map((step) => `${keyPrefix}${queue}${step === 0 ? '' : `\x06\x16${step}`}`),
  );
  return {
    kind: 'celery',
    look: async (ask, horizonMs, redis) => {
      const [asked, messages, active, consumed] = await Promise.all([
        askQueues(ask, keyPrefix, queues, lists),
        readMessages(redis, keyPrefix, lists.flat()),
        control.ask(redis, 'active', ASK_EVERY_MS),
        control.ask(redis, 'active_queues', ASK_QUEUES_EVERY_MS),
      ]);
      const leaving = latest(consumed).filter((names) => names.length === 0).length;
      const looksAt = (found: Messages, running: Active): readonly SourceLook[] =>
        queues.map((queue, i) => {
          const first = i * prioritySteps.length;
          const listed = asked[i]?.lengths ?? [];
          return lookOf({ queue, listed, messages: found, running, leaving, horizonMs, first });
        });
      const looks = looksAt(messages, active);
      const known = active.reached + asked.reduce((sum, one) => sum + one.known, 0);
      if (known === 0) checkFound(queues, looks, keyPrefix);
      const idle = looks.every(({ waiting, inHand }) => waiting + inHand === 0);
      const sure = active.reached === 0 || (latest(active).length >= active.reached && !idle);
      if (sure) return looks;
      // a task that is just being fetched is in no key, and one that has begun since is in no answer
      if (idle) await control.ask(redis, 'active', 0);
      await sleep(ANSWERS_COME_MS);
      const [later, running] = await Promise.all([
        readMessages(redis, keyPrefix, lists.flat()),
        control.ask(redis, 'active', 'no'),
      ]);
      return looksAt(later, running);
    },
    holding: {
      by: 'worker',
      lagMs: LAG_MS,
      crew: async (ask, redis) => {
        const { answers } = await ask({ oldest: lowestScore(`${keyPrefix}unacked_index`) });
        return readCrew(redis, control, queues, answers.oldest);
      },
      orders: {
        drain: (redis, workers) => orderAll(redis, control, 'cancel_consumer', workers, queues),
        resume: (redis, workers) => orderAll(redis, control, 'add_consumer', workers, queues),
      },
    },
  };
}

function askQueues(
  ask: Ask,
  keyPrefix: string,
  queues: readonly string[],
  lists: readonly (readonly string[])[],
): Promise<{ lengths: readonly number[]; known: number }[]> {
  return Promise.all(
    queues.map(async (queue, i) => {
      const { answers } = await ask([
        ...(lists[i] ?? []).map((list) => waking(count('LLEN', list))),
        // of another type, it is reported
        count('HLEN', `${keyPrefix}unacked`),
        count('EXISTS', `${keyPrefix}_kombu.binding.${queue}`),
      ]);
      return { lengths: answers.slice(0, -2), known: answers.at(-1) ?? 0 };
    }),
  );
}

/** When a task may run, ms of Redis time; `undefined`: at once. */
type Eta = number | undefined;

interface Messages {
  readonly now: number;
  /** Messages of `unacked` that were not read: too many, or too long. */
  readonly unread: number;
  readonly unacked: readonly { readonly route: string; readonly eta: Eta }[];
  /** By list; of a long one those that are taken next. */
  readonly listed: readonly (readonly Eta[])[];
}

async function readMessages(redis: Redis, keyPrefix: string, lists: readonly string[]): Promise<Messages> {
  const unacked = `${keyPrefix}unacked`;
  const what = 'messages of Celery';
  const reply = await script(redis, 'celery')(lists.length + 1, unacked, ...lists, MOST_UNACKED, MOST_LISTED);
  const [now, unread, fetched, ...heads] = asList(reply, what, lists.length + 3);
  const texts = asList(fetched, what).map((one) => asText(one, what));
  const routes = texts.filter((_, i) => i % 2 === 0);
  return {
    now: asCount(now, 'the time'),
    unread: asCount(unread, 'messages that were not read'),
    unacked: routes.map((route, i) => ({ route, eta: etaIn(texts[2 * i + 1] ?? '?', unacked) })),
    listed: heads.map((head, i) => asList(head, what).map((one) => etaIn(asText(one, what), lists[i] ?? ''))),
  };
}

function etaIn(text: string, key: string): Eta {
  if (text === '-') return undefined;
  // without an offset, it is in UTC
  const at = Date.parse(/[Z+]|-\d\d:\d\d$/.test(text) ? text : `${text}Z`);
  if (!Number.isNaN(at)) return at;
  throw new SourceTrouble(
    'UnknownLayout',
    `what is in the key "${key}" is no message of Celery's protocol 2`,
    'check queues of source.celery: this queue is of another library or of Celery 3; source.list or source.custom can read it',
  );
}

/** What each worker has said lately. */
function latest<T>({ now, byWorker }: Answers<T>): T[] {
  return [...byWorker.values()].flatMap(({ at, answer }) => (now - at < ANSWERS_LAST_MS ? [answer] : []));
}

interface Counted {
  readonly queue: string;
  readonly listed: readonly number[];
  readonly messages: Messages;
  readonly running: Active;
  /** Workers that take from no queue. */
  readonly leaving: number;
  readonly horizonMs: number;
  /** The number of its first list. */
  readonly first: number;
}

function lookOf(counted: Counted): SourceLook {
  const { queue, listed, messages, running, leaving, horizonMs, first } = counted;
  const { now, unacked } = messages;
  const heads = messages.listed.slice(first, first + listed.length).flat();
  const later = heads.filter((eta) => eta !== undefined);
  const mine = unacked.filter(({ route }) => route === queue).map(({ eta }) => eta);
  const held = mine.filter((eta) => eta !== undefined && eta > now) as number[];
  const acknowledged = latest(running)
    .flat()
    .filter((task) => task.acknowledged && task.route === queue).length;
  const etas = [...later, ...held];
  const ahead = etas.filter((eta) => eta > now);
  return {
    now,
    waiting: Math.max(0, listed.reduce((sum, one) => sum + one, 0) - later.length),
    inHand: mine.length - held.length + acknowledged + unreadOf(counted, mine.length),
    delayed: etas.length,
    due: etas.length - ahead.length,
    dueSoon: ahead.filter((eta) => eta <= now + horizonMs).length,
    leaving,
    nextDue: etas.length === 0 ? undefined : Math.floor(Math.min(...etas)),
  };
}

/** Of the messages in `unacked` that were not read, the share of a queue that has `mine` of those that were. */
function unreadOf({ messages: { unacked, unread } }: Counted, mine: number): number {
  return unacked.length === 0 ? 0 : Math.round((unread * mine) / unacked.length);
}

/** Nothing is known of these queues, and no worker is there: throws unless there is a task. */
function checkFound(queues: readonly string[], looks: readonly SourceLook[], keyPrefix: string): void {
  if (looks.some(({ waiting, inHand, delayed }) => waiting + inHand + delayed > 0)) return;
  const [queue = ''] = queues;
  throw new SourceTrouble(
    'NotFound',
    `there is no Celery queue "${queue}" here (no key "${keyPrefix}${queue}" or "${keyPrefix}_kombu.binding.${queue}"), and no worker listens`,
    'check queues and keyPrefix (global_keyprefix) of source.celery, and the database in the address of Redis; a queue is there once a task was sent to it',
  );
}

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
import { celeryControl, type Answers } from './celery-control.ts';
import { orderAll, readCrew } from './celery-crew.ts';
import { readMessages, type CeleryKeys, type Messages } from './celery-messages.ts';
import { count, lowestScore, waking } from './question.ts';
import { SourceTrouble, type Source, type SourceLook } from './source.ts';

export interface CelerySettings {
  readonly queues: readonly string[];
  /** As the transport option `priority_steps`. */
  readonly prioritySteps: readonly number[];
  /** As the transport option `global_keyprefix`. */
  readonly keyPrefix?: string;
}

/** What runs is asked for in looks that are at least so far apart; answers older than the second say nothing. ms. */
const ASK_EVERY_MS = 900;
const ANSWERS_LAST_MS = 30_000;
/** A look waits so long for answers, where nothing seems to be there, ms. */
const ANSWERS_COME_MS = 60;
/** A worker knows of a task some ms before it counts as active. */
const LAG_MS = 1_000;

export function celerySource({ queues, prioritySteps, keyPrefix = '' }: CelerySettings): Source {
  const control = celeryControl(keyPrefix, `millrace:{celery:${queues[0]}}:answers`);
  const keys: CeleryKeys = {
    unacked: `${keyPrefix}unacked`,
    queues: queues.map((queue) => ({
      binding: `${keyPrefix}_kombu.binding.${queue}`,
      lists: prioritySteps.map((step) => `${keyPrefix}${queue}${step === 0 ? '' : `\x06\x16${step}`}`),
    })),
  };
  return {
    kind: 'celery',
    // two scripts, one round trip; where nothing seems to be there and workers may run something, two more
    look: async (_, horizonMs, redis, watch) => {
      const [messages, answers] = await Promise.all([
        readMessages(redis, keys),
        control.ask(redis, ASK_EVERY_MS),
      ]);
      for (const { key, length } of messages.lists.flat())
        watch({ question: waking(count('LLEN', key)), reply: String(length) });
      const looksAt = (found: Messages, said: Answers): readonly SourceLook[] =>
        queues.map((queue, i) => lookOf({ queue, lists: found.lists[i] ?? [], found, said, horizonMs }));
      const looks = looksAt(messages, answers);
      if (answers.reached === 0 && messages.known === 0) checkFound(queues, looks, keyPrefix);
      if (answers.reached === 0 || looks.some(({ waiting, inHand }) => waiting + inHand > 0)) return looks;
      // a task that is just being fetched is in no key, and one that has begun since is in no answer
      if (answers.asked < answers.now) await control.askAnew(redis);
      await sleep(ANSWERS_COME_MS);
      const [later, running] = await Promise.all([
        readMessages(redis, { ...keys, queues: [] }),
        control.ask(redis, 'no'),
      ]);
      return looksAt({ ...later, lists: messages.lists }, running);
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

/** What each worker has said lately. */
function latest<T>(now: number, said: ReadonlyMap<string, { readonly at: number; readonly answer: T }>): T[] {
  return [...said.values()].flatMap(({ at, answer }) => (now - at < ANSWERS_LAST_MS ? [answer] : []));
}

interface Counted {
  readonly queue: string;
  /** Its own. */
  readonly lists: Messages['lists'][number];
  readonly found: Messages;
  readonly said: Answers;
  readonly horizonMs: number;
}

function lookOf({ queue, lists, found, said, horizonMs }: Counted): SourceLook {
  const { now, unacked } = found;
  const later = lists.flatMap(({ etas }) => etas).filter((eta) => eta !== undefined);
  const mine = unacked.filter(({ route }) => route === queue).map(({ eta }) => eta);
  const held = mine.filter((eta) => eta !== undefined && eta > now) as number[];
  const acknowledged = latest(said.now, said.active)
    .flat()
    .filter((task) => task.acknowledged && task.route === queue).length;
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

/** Of the messages in `unacked` that were not read, the share of a queue that has `mine` of those that were. */
function unreadOf({ unacked, unread }: Messages, mine: number): number {
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

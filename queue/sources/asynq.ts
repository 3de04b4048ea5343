/**
 * asynq (seen: 0.26.0). Its blind spots for a reader of one list:
 *
 * - Only a running server moves what is due in `scheduled` and `retry`. A task whose server was killed stays in `active` for one to two
 *   minutes, and goes to `retry` then, with a back-off: pending and active are both 0, and it is not done.
 * - Tasks of a group stand in no list until a server makes one task of them, so a group counts as one.
 * - A paused queue keeps its list.
 * - What servers say of themselves they write every 5 s, with payloads of any size: of these only the ids are read.
 * - `asynq:servers` has the servers of all queues. Of more than 500, those of the pool's own pods are read first: a task of one
 *   that was not read names no server that is known, so it may be anybody's.
 * - Servers write times by their own clocks: when they are to be forgotten, when their leases end. By the clock of Redis, one that is
 *   behind is never there, so what counts is that its record is, which Redis itself expires. While there is such a server, each task
 *   that ever had a lease may be one that it has just taken.
 */
import { LONGEST, type Ask } from './ask.ts';
import { scoreIn } from '../scripts/decode-reply.ts';
import { askDelayed, delayedIn, dueAt, SECONDS } from './delayed.ts';
import { count, counter, text, texts, waking, type Moment } from './question.ts';
import {
  SourceTrouble,
  type Source,
  type SourceWorkers,
  type SourceCounts,
  type SourceWorker,
} from './source.ts';

export interface AsynqSettings {
  readonly queues: readonly string[];
}

/** What a server has written is gone after this, unless it writes it anew, every 5 s. */
export const RECORD_MS = 10_000;
const MOST_SERVERS = 500;
const MOST_NAMES = 4_000;
const MOST_ACTIVE = 2_000;
const NOW: Moment = { plusMs: 0, factor: 0.001, offset: 0 };

export function asynqSource({ queues }: AsynqSettings): Source {
  return {
    kind: 'asynq',
    read: (ask, horizonMs) => Promise.all(queues.map((queue) => readQueue(ask, queue, horizonMs))),
    holding: {
      by: 'worker',
      lagMs: RECORD_MS,
      readWorkers: (ask, _, isOurs) => readWorkers(ask, queues, isOurs),
    },
  };
}

async function readQueue(ask: Ask, queue: string, horizonMs: number): Promise<SourceCounts> {
  const base = `asynq:{${queue}}`;
  const retry = askDelayed(`${base}:retry`, SECONDS, horizonMs);
  const { now, answers } = await ask({
    pending: waking(count('LLEN', `${base}:pending`)),
    paused: waking(count('EXISTS', `${base}:paused`)),
    groups: waking(count('SCARD', `${base}:groups`)),
    // a group that a server has begun to make one task of
    begun: count('ZCARD', `${base}:aggregation_sets`),
    active: count('LLEN', `${base}:active`),
    archived: count('ZCARD', `${base}:archived`),
    // runs, those that failed included
    processed: counter(`${base}:processed`),
    known: count('SISMEMBER', 'asynq:queues', queue),
    deadlines: count('EXISTS', `${base}:deadlines`),
    ...askDelayed(`${base}:scheduled`, SECONDS, horizonMs),
    retries: retry.delayed,
    retriesDue: retry.due,
    retriesSoon: retry.dueSoon,
    firstRetry: retry.lowest,
  });
  if (answers.deadlines > 0)
    throw new SourceTrouble(
      'UnknownLayout',
      `queue "${queue}" is of asynq 0.21 or older (key "${base}:deadlines"), and the layout since 0.22 is known`,
      'update asynq, or use source.custom',
    );
  if (answers.known === 0)
    throw new SourceTrouble(
      'NotFound',
      `there is no asynq queue "${queue}" here: "asynq:queues" does not name it`,
      'check source.asynq.queues and the database in the address of Redis; a queue is there once a task was put into it',
    );
  const scheduled = delayedIn(answers, SECONDS);
  const { retries, retriesDue, retriesSoon, firstRetry } = answers;
  const nextRetry = firstRetry === undefined ? Infinity : dueAt(firstRetry, SECONDS);
  const nextDue = Math.min(scheduled.nextDue ?? Infinity, nextRetry);
  return {
    now,
    waiting: answers.pending + answers.groups + answers.begun,
    inHand: answers.active,
    delayed: scheduled.delayed + retries,
    due: scheduled.due + retriesDue,
    dueSoon: scheduled.dueSoon + retriesSoon,
    nextDue: nextDue === Infinity ? undefined : nextDue,
    failed: answers.archived,
    finished: answers.processed,
    paused: answers.paused > 0,
  };
}

async function readWorkers(
  ask: Ask,
  queues: readonly string[],
  isOurs: ((host: string) => boolean) | undefined,
): Promise<SourceWorkers> {
  const servers = await readServers(ask, isOurs);
  // a task is leased by a server that runs it, and no longer than half a minute by one that was killed
  const from = servers.some(({ aheadMs }) => aheadMs < 0) ? '-inf' : NOW;
  const range = [from, '+inf', 'BYSCORE', 'LIMIT', 0, MOST_ACTIVE] as const;
  const [{ answers: leased }, { answers: running }] = await Promise.all([
    ask(queues.map((queue) => texts('ZRANGE', `asynq:{${queue}}:lease`, ...range))),
    ask(servers.map(({ key }) => texts('HKEYS', key.replace('asynq:servers:', 'asynq:workers:')))),
  ]);
  const named = new Set(running.flat());
  const unnamed = leased.flat().filter((task) => !named.has(task)).length;
  const beyond = leased.some((tasks) => tasks.length >= MOST_ACTIVE) ? 1 : 0;
  return {
    workers: servers.flatMap(({ key, host, takesFrom }, i): SourceWorker[] =>
      queues.some(takesFrom) ? [{ id: key, hosts: [host], tasks: running[i]?.length ?? 0 }] : [],
    ),
    unnamed: unnamed + beyond,
  };
}

interface AsynqServer {
  readonly key: string;
  readonly host: string;
  /**
   * How long its record is to stay, ms, by its own clock and that of Redis: up to ten seconds where both agree, less than 0 where its
   * clock is behind.
   */
  readonly aheadMs: number;
  /** Of one with very many queues: from any. */
  readonly takesFrom: (queue: string) => boolean;
}

/** All that are there, whatever they take from. What they write of themselves is protobuf, of which texts can be told. */
export async function readServers(
  ask: Ask,
  isOurs: (host: string) => boolean = () => false,
): Promise<readonly AsynqServer[]> {
  const range = ['+inf', '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, MOST_NAMES, 'WITHSCORES'] as const;
  const { now, answers } = await ask([texts('ZRANGE', 'asynq:servers', ...range)]);
  const names = answers
    .flat()
    .flatMap((key, i, all) =>
      i % 2 === 0 ? [{ key, aheadMs: scoreIn(all[i + 1] ?? '') * 1_000 - now, host: hostIn(key) }] : [],
    );
  const rank = ({ host, aheadMs }: (typeof names)[number]): number =>
    isOurs(host ?? '') ? 0 : aheadMs >= 0 ? 1 : 2;
  // by name, as they expire in another order at each look
  const ordered = names.toSorted((a, b) => rank(a) - rank(b) || (a.key < b.key ? -1 : 1));
  const known = ordered.slice(0, MOST_SERVERS);
  const { answers: about } = await ask(known.map(({ key }) => text('GET', key)));
  return known.flatMap(({ key, host, aheadMs }, i) => {
    const info = about[i] ?? '';
    if (host === undefined || info === '') return [];
    const takesFrom = (queue: string): boolean =>
      Buffer.byteLength(info) >= LONGEST || info.includes(lengthDelimited(queue));
    return [{ key, host, aheadMs, takesFrom }];
  });
}

function hostIn(key: string): string | undefined {
  return /^asynq:servers:\{(.*):\d+:[^:]*\}$/.exec(key)?.[1];
}

/** A queue's name, as it stands in a server's list of them: the first field of a message, with its length. */
function lengthDelimited(name: string): string {
  const bytes = Buffer.from(name);
  const length = bytes.length < 128 ? [bytes.length] : [(bytes.length & 127) | 128, bytes.length >> 7];
  return Buffer.concat([Buffer.from([10, ...length]), bytes]).toString();
}

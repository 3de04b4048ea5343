/**
 * RQ 3 (seen: 3.0.0; the keys of 1.16.2 and 2.12.0 are the same). Its blind spots for a reader of one list:
 *
 * - A running job is in no list but in the sorted set `rq:wip:QUEUE`, and so is, for ever, one whose worker was killed: only the
 *   next worker that starts puts it back or gives it up, so it counts as work.
 * - A scheduled job that is due stays in `rq:scheduled:QUEUE` until a worker with a scheduler moves it.
 * - `rq:deferred:QUEUE` waits for other jobs and is no work; neither is what waits for a `RateLimit` (`rq:rl:KEY:rate_limited`): it
 *   comes into the list with the end of another job. What a process that died left in `rq:ready:QUEUE` is work, and in no list:
 *   it waits for no job any more, and the next worker that starts moves it.
 * - `rq suspend` sets a key without which nothing in a list shows that no job is taken.
 */
import { plainText } from '../../runtime/plain-text.ts';
import type { Ask } from './ask.ts';
import { withoutPort } from './client-address.ts';
import { askDelayed, delayedIn, SECONDS } from './delayed.ts';
import { count, existingKeys, fields, waking } from './question.ts';
import {
  SourceTrouble,
  type Concern,
  type Source,
  type SourceWorkers,
  type SourceCounts,
  type SourceWorker,
} from './source.ts';

export interface RqSettings {
  readonly queues: readonly string[];
  /** As `RQ_KEY_PREFIX` in the environment of clients and workers; `rq` if not set. */
  readonly prefix?: string;
}

export const RQ_PREFIX = 'rq';

/** A worker takes a job off the list some ms before it notes that it is busy. */
const LAG_MS = 2_000;
const MOST_WORKERS = 500;

export function rqSource({ queues, prefix = RQ_PREFIX }: RqSettings): Source {
  return {
    kind: 'rq',
    read: (ask, horizonMs) => Promise.all(queues.map((queue) => readQueue(ask, prefix, queue, horizonMs))),
    holding: { by: 'worker', lagMs: LAG_MS, readWorkers: (ask) => readWorkers(ask, prefix, queues) },
  };
}

async function readQueue(ask: Ask, prefix: string, queue: string, horizonMs: number): Promise<SourceCounts> {
  const list = `${prefix}:queue:${queue}`;
  const { now, answers } = await ask({
    waiting: waking(count('LLEN', list)),
    suspended: waking(count('EXISTS', `${prefix}:suspended`)),
    taken: count('LLEN', `${list}:intermediate`),
    running: count('ZCARD', `${prefix}:wip:${queue}`),
    ready: waking(count('ZCARD', `${prefix}:ready:${queue}`)),
    failed: count('ZCARD', `${prefix}:failed:${queue}`),
    known: count('SISMEMBER', `${prefix}:queues`, list),
    workers: count('SCARD', `${prefix}:workers:${queue}`),
    ...askDelayed(`${prefix}:scheduled:${queue}`, SECONDS, horizonMs),
  });
  const { waiting, taken, running, delayed, ready, failed } = answers;
  if (answers.known + answers.workers + waiting + taken + running + delayed + ready + failed === 0)
    throw new SourceTrouble(
      'NotFound',
      `there is no RQ queue "${queue}" here: "${prefix}:queues" does not name it, and no worker listens to it`,
      'check queues and prefix of source.rq, and the database in the address of Redis; a queue is there once a job was put into it',
    );
  const later = delayedIn(answers, SECONDS);
  return {
    now,
    waiting,
    inHand: taken + running,
    ...later,
    delayed: later.delayed + ready,
    due: later.due + ready,
    failed,
    paused: answers.suspended > 0,
  };
}

async function readWorkers(ask: Ask, prefix: string, queues: readonly string[]): Promise<SourceWorkers> {
  const listening = await Promise.all(
    queues.map(async (queue) => {
      const { answers } = await ask({
        workers: existingKeys(`${prefix}:workers:${queue}`, MOST_WORKERS),
        taken: count('LLEN', `${prefix}:queue:${queue}:intermediate`),
        running: count('ZCOUNT', `${prefix}:wip:${queue}`, { plusMs: 0, factor: 0.001, offset: 0 }, '+inf'),
      });
      return answers;
    }),
  );
  const keys = [...new Set(listening.flatMap(({ workers }) => workers))];
  const { answers: about } = await ask(
    keys.map((key) => fields(key, 'hostname', 'ip_address', 'state', 'current_job', 'version')),
  );
  const workers = about.flatMap((one, i) => workerOf(keys[i]?.slice(`${prefix}:worker:`.length) ?? '', one));
  const held = listening.reduce((sum, { taken, running }) => sum + taken + running, 0);
  const named = workers.reduce((sum, { tasks }) => sum + tasks, 0);
  return { workers, unnamed: Math.max(0, held - named), concerns: versionConcern(about) };
}

/** About a version that may have its running jobs in other keys. A worker says which it is since RQ 1.4. */
function versionConcern(about: readonly (readonly (string | undefined)[])[]): Concern[] {
  const other = about.map(([, , , , version = '']) => plainText(version, 40)).find(isOther);
  if (other === undefined) return [];
  return [
    {
      note: `a worker of RQ ${other} is here, and the layouts of RQ up to 3 are known`,
      todo: 'its pod is held, as it may run a job that no key shows: use one of these, or source.custom',
      holds: true,
    },
  ];
}

function isOther(version: string): boolean {
  return version !== '' && !/^[0-3]\./.test(version);
}

/** None for one that was killed: its name stays, and its hash is gone. */
function workerOf(
  id: string,
  [host = '', address = '', state, job, version = '']: readonly (string | undefined)[],
): SourceWorker[] {
  if (state === undefined) return [];
  const hosts = [host, withoutPort(address)].filter((one) => one !== '');
  return [{ id, hosts, tasks: state === 'busy' || job !== undefined || isOther(version) ? 1 : 0 }];
}

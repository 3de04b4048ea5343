/** Plays the rounds of a plan: waves, faults at their times, and how far the work has come, by what Redis holds. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import { within } from '../../queue/connection/connection.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import type { RedisOf } from '../../queue/location.ts';
import type { DoneFault } from './check.ts';
import type { Clients } from './clients.ts';
import type { Round } from './plan.ts';

export interface Stage<F> {
  /** Straight to the server. */
  readonly redisOf: RedisOf;
  readonly queues: readonly QueueKeys[];
  readonly clients: Clients;
  /** Ends the play where it is. */
  readonly limit: AbortSignal;
  readonly progress: (line: string) => void;
  /** Resolves when the fault is over, to what was done. */
  readonly strike: (fault: F) => Promise<DoneFault>;
  /** Faults hit while a wave is being pushed, where that takes long; otherwise after it. */
  readonly strikeMeanwhile?: boolean;
  /** Before each round. */
  readonly prepare: (round: Round<F>) => Promise<void>;
  /** Begins no further round. */
  readonly enough?: AbortSignal;
  /** What goes on until all is settled, and is ended then: what it takes back is settled again. */
  readonly lastly?: () => Promise<void>;
  /** How many there are now. */
  readonly workers: () => number;
  /** A fault could not be made; the play rejects with the same error in the end. */
  readonly onBroken: (error: unknown) => void;
}

const LOOK_MS = 50;
const SAY_MS = 2_000;

/** Resolves to all faults when every round was played, and every batch is over and every task settled, or at the limit. */
export async function playRounds<F>(rounds: readonly Round<F>[], stage: Stage<F>): Promise<DoneFault[]> {
  const { clients, limit } = stage;
  const striking: Promise<DoneFault>[] = [];
  const board = createBoard(stage);
  const over = new Promise((resolve) => limit.addEventListener('abort', resolve, { once: true }));
  const say = setInterval(() => stage.progress(board.text(striking.length)), SAY_MS);
  try {
    for (const round of rounds) {
      if (limit.aborted || stage.enough?.aborted) break;
      await stage.prepare(round);
      board.pushing(round);
      const pushed = Promise.race([clients.push(round), over]);
      if (!stage.strikeMeanwhile) await pushed;
      striking.push(...(await strikeAll(round, stage)));
      await pushed;
      await board.until(round.leave);
      await delay(round.restMs);
    }
    const faults = await Promise.all(striking);
    const settled = async (): Promise<void> => {
      do {
        await board.until(0);
        await delay(LOOK_MS);
      } while (!limit.aborted && !(await clients.batches.areOver()));
      await board.until(0);
    };
    await settled();
    if (stage.lastly) await stage.lastly().then(settled);
    return faults;
  } finally {
    clearInterval(say);
  }
}

/** Begins all faults of a round, each at its time; they may last longer. */
async function strikeAll<F>({ faults }: Round<F>, stage: Stage<F>): Promise<Promise<DoneFault>[]> {
  const begun: Promise<DoneFault>[] = [];
  let at = 0;
  for (const { afterMs, fault } of faults) {
    await delay(afterMs - at);
    at = afterMs;
    if (stage.limit.aborted) break;
    const done = stage.strike(fault);
    done.catch(stage.onBroken);
    begun.push(done);
  }
  return begun;
}

interface Board {
  pushing(round: Pick<Round, 'tasks'>): void;
  /** Resolves when no more than `leave` tasks are unsettled, or at the limit. */
  until(leave: number): Promise<void>;
  text(faults: number): string;
}

function createBoard<F>({ redisOf, queues, limit, workers }: Stage<F>): Board {
  const began = performance.now();
  let pushed = 0;
  let open: number | undefined = 0;
  return {
    pushing: ({ tasks }) => {
      for (const { copies } of tasks) pushed += copies;
    },
    until: async (leave) => {
      while (!limit.aborted) {
        open = await countAll(redisOf, queues).catch(() => undefined);
        if (open !== undefined && open <= leave) return;
        await delay(LOOK_MS);
      }
    },
    text: (faults) => {
      const seconds = Math.round((performance.now() - began) / 1_000);
      const left = open === undefined ? 'Redis is away' : `${open} open`;
      return `${seconds} s: ${pushed} tasks pushed, ${left}, ${workers()} workers, ${faults} faults`;
    },
  };
}

async function countAll(redisOf: RedisOf, queues: readonly QueueKeys[]): Promise<number | undefined> {
  let open = 0;
  for (const keys of queues) {
    const here = await countOpen(redisOf(keys), keys);
    if (here === undefined) return undefined;
    open += here;
  }
  return open;
}

/**
 * Tasks of a queue that are not settled, those between a blocking move and the next turn included; `undefined` when Redis did not say. All
 * are counted at one moment: a task that moves on between two reads would be in neither.
 */
async function countOpen(redis: Redis, keys: QueueKeys): Promise<number | undefined> {
  const workers = await within(2_000, redis.zrange(keys.workers, '0', '-1'), 'the workers');
  const asking = redis.multi().zrange(keys.workers, '0', '-1').llen(keys.queue).zcard(keys.delayed);
  for (const worker of workers) asking.llen(keys.wake(worker));
  const replies = await within(2_000, asking.hvals(keys.load).exec(), 'the count');
  if (!replies || replies.some(([error]) => error)) return undefined;
  const [registered, ...counts] = replies.map(([, reply]) => reply);
  if (String(registered) !== String(workers)) return undefined;
  return counts.flat().reduce((sum: number, count) => sum + Number(count), 0);
}

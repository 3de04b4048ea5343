/**
 * A worker of the first protocol: the scripts as they were then (test/fixtures/protocol-1, never to be changed) and what
 * called them, without the loop's cleverness. It takes a few tasks, runs them, and settles them with its next turn.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { setTimeout as delay } from 'node:timers/promises';
import { deadHeader } from '../../queue/dead-letter-format.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { parseTask } from '../../queue/task.ts';

type Arg = string | number | Buffer;

const arity = { turn: 13, register: 4, reap: 9 } as const;

function call(redis: Redis, name: keyof typeof arity, args: readonly Arg[]): Promise<unknown> {
  const lua = readFileSync(join(import.meta.dirname, `../fixtures/protocol-1/${name}.lua`), 'utf8');
  redis.defineCommand(`protocol1:${name}`, { numberOfKeys: arity[name], lua });
  const commands = redis as unknown as Record<string, (...args: readonly Arg[]) => Promise<unknown>>;
  return (commands[`protocol1:${name}Buffer`] as (...args: readonly Arg[]) => Promise<unknown>).call(
    redis,
    ...args,
  );
}

/** What becomes of a task: a result, another try, the dead letters, or back to the queue unbegun. */
export type OldOutcome = { result: string } | { retryMs: number } | { dead: string } | 'release';

export interface OldTask {
  readonly receipt: string;
  readonly raw: Buffer;
  readonly attempts: number;
  readonly deliveries: number;
}

export interface OldWorker {
  readonly id: string;
  readonly epoch: number;
  /** Settles the given outcomes and takes up to `want`; `undefined` when it is fenced. */
  turn(want: number, settled?: readonly [OldTask, OldOutcome][]): Promise<readonly OldTask[] | undefined>;
  /** Ends another worker's epoch whose lease is over; returns how many tasks went back, -1 when it is not. */
  reap(worker: string): Promise<number>;
  /** Hands back what it holds and leaves. */
  leave(): Promise<void>;
}

/** Registers. Throws when that is refused. */
export async function startOldWorker(
  redis: Redis,
  keys: QueueKeys,
  id: string,
  leaseMs = 60_000,
): Promise<OldWorker> {
  const own = [keys.workers, keys.worker(id), keys.stats, keys.load];
  const epoch = Number(await call(redis, 'register', [...own, id, leaseMs, 'concurrency', 1]));
  if (epoch === 0) throw new Error(`${id} was not registered`);
  let turns = 0;
  let seen = 0;

  const reap = async (worker: string, whose: string | number, why: 'lost' | 'leave'): Promise<number> => {
    const { queue, workers, stats, history, load } = keys;
    const theirs = [keys.worker(worker), keys.inflight(worker), keys.carried(worker), keys.wake(worker)];
    const args = [queue, workers, ...theirs, stats, history, load, worker, whose, why, 10_000];
    return Number(await call(redis, 'reap', args));
  };

  return {
    id,
    epoch,
    turn: async (want, settled = []) => {
      const results: Arg[] = [];
      const values: Arg[] = [];
      const retries: Arg[] = [];
      const dead: Arg[] = [];
      const released: Arg[] = [];
      for (const [{ receipt, raw, attempts, deliveries }, outcome] of settled) {
        const taskId = parseTask(raw).id;
        if (outcome === 'release') released.push(receipt);
        else if ('result' in outcome) {
          results.push(receipt);
          values.push(taskId, outcome.result);
        } else if ('dead' in outcome) {
          const about = { error: outcome.dead, attempts: attempts + 1, worker: id, id: taskId.toString() };
          dead.push(receipt, taskId, deadHeader(about));
        } else retries.push(receipt, outcome.retryMs, `${attempts + 1}:${deliveries}`);
      }
      const counts = [results.length, retries.length / 3, dead.length / 3, released.length];
      const { queue, result, workers, delayed, stats, history, load } = keys;
      const mine = [keys.worker(id), keys.inflight(id), keys.carried(id), keys.wake(id)];
      const outcomes = [...results, ...values, ...retries, ...dead, ...released];
      const numbers = [id, epoch, ++turns, seen, want, leaseMs, 'busy', 0, 10_000, ...counts];
      const theirs = [delayed, keys.dead, keys.errors, stats, history, load];
      const reply = (await call(redis, 'turn', [
        queue,
        result,
        workers,
        ...mine,
        ...theirs,
        ...numbers,
        ...outcomes,
      ])) as [number, number, unknown, number, number, Buffer[], unknown[]];
      if (reply[0] === 0) return undefined;
      const [, , , , first, raws, pasts] = reply;
      seen = first + raws.length - 1;
      const past = new Map<number, readonly number[]>();
      for (let i = 0; i + 1 < pasts.length; i += 2)
        past.set(
          Number(pasts[i]),
          String(pasts[i + 1])
            .split(':')
            .map(Number),
        );
      return raws.map((raw, i) => {
        const [attempts = 0, deliveries = 0] = past.get(i + 1) ?? [];
        return { receipt: `${epoch}-${first + i}`, raw, attempts, deliveries };
      });
    },
    reap: (worker) => reap(worker, 'expired', 'lost'),
    leave: async () => void (await reap(id, epoch, 'leave')),
  };
}

/**
 * Takes and runs tasks until `signal` aborts, then settles the last ones and leaves. While it has none, it pauses that long
 * between turns, ms.
 */
export async function workAsOld(
  worker: OldWorker,
  run: (task: OldTask) => OldOutcome,
  signal: AbortSignal,
  pauseMs = (): number => 10,
): Promise<void> {
  let settled: [OldTask, OldOutcome][] = [];
  while (!signal.aborted) {
    const tasks = await worker.turn(4, settled);
    if (!tasks) throw new Error(`${worker.id} is fenced`);
    settled = tasks.map((task) => [task, run(task)]);
    await delay(tasks.length > 0 ? 1 : pauseMs());
  }
  await worker.turn(0, settled);
  await worker.leave();
}

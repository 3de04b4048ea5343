/** A worker that a test moves by hand, turn by turn: the script's caller without the loop. */
import type { Redis } from 'ioredis';
import { randomUUID } from 'node:crypto';
import { queueKeys, type QueueKeys } from '../../queue/keys.ts';
import { openQueue, type Queue } from '../../queue/queue.ts';
import { register } from '../../queue/workers/register.ts';
import {
  turn,
  type Delivery,
  type Settled,
  type TurnReply,
  type TurnRequest,
} from '../../queue/workers/turn.ts';

export type Held = Extract<TurnReply, { kind: 'held' }>;

export const nothing: Settled = {
  results: [],
  retries: [],
  dead: [],
  released: [],
  cancelled: [],
  serviceUs: 0,
};

/** Keys of a queue that no other test uses. */
export function freshKeys(): QueueKeys {
  const name = randomUUID().slice(0, 8);
  return queueKeys(`queue-${name}`, `result-${name}`);
}

/** Keys of queues `…-0`, `…-1`, … that share a result hash, the first one the most urgent. */
export function freshQueues(count: number): readonly [QueueKeys, ...QueueKeys[]] {
  const { queue, result } = freshKeys();
  const all = Array.from({ length: count }, (_, i) => queueKeys(`${queue}-${i}`, result));
  return all as [QueueKeys, ...QueueKeys[]];
}

/** A client of a queue that no other test uses, on the Redis at `url`. */
export function openFreshQueue(url: string): Queue {
  const { queue, result } = freshKeys();
  return openQueue({ redis: url, queue, result });
}

export interface HandWorker {
  readonly id: string;
  readonly epoch: number;
  /** The next request: sends nothing yet. */
  next(parts?: Partial<Omit<TurnRequest, 'settled'>> & { settled?: Partial<Settled> }): TurnRequest;
  send(request: TurnRequest): Promise<TurnReply>;
  /** The next turn. Throws when the worker is fenced. */
  turn(parts?: Parameters<HandWorker['next']>[0]): Promise<Held>;
}

/** Registers. Throws when that is refused. */
export async function startHandWorker(
  redis: Redis,
  keys: QueueKeys,
  { id = `worker-${randomUUID().slice(0, 8)}`, leaseMs = 600_000 } = {},
): Promise<HandWorker> {
  const epoch = await register(redis, keys, id, leaseMs, { concurrency: 1 });
  if (epoch === undefined) throw new Error(`${id} was not registered`);
  let turns = 0;
  let seen = 0;
  const next: HandWorker['next'] = ({ settled, ...parts } = {}) => ({
    worker: id,
    epoch,
    turn: ++turns,
    seen,
    want: 0,
    leaseMs,
    state: 'busy',
    ...parts,
    settled: { ...nothing, ...settled },
  });
  const send: HandWorker['send'] = async (request) => {
    const reply = await turn(redis, keys, request);
    if (reply.kind === 'held') seen = reply.seen;
    return reply;
  };
  return {
    id,
    epoch,
    next,
    send,
    turn: async (parts) => {
      const reply = await send(next(parts));
      if (reply.kind === 'fenced') throw new Error(`${id} is fenced`);
      return reply;
    },
  };
}

export function texts(tasks: readonly Delivery[]): string[] {
  return tasks.map((task) => task.raw.toString());
}

/** The result of a task as a settled entry. */
export function done(
  { receipt, raw }: Delivery,
  value: string | Buffer = 'done',
): Settled['results'][number] {
  return { receipt, id: raw, value };
}

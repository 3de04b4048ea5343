/**
 * What a run with Sentinel or on a Redis Cluster does, drawn from its seed as in `plan.ts`: the tasks, rounds and faults of workers
 * that a run on one server has, and beside them replicas that take over from their primaries, one after the other. Pure.
 */
import { drawBatches, usualParts } from './batch-plan.ts';
import {
  createDealer,
  drawRounds,
  LEASE_MS,
  LOW,
  workerCards,
  type Round,
  type RoundShape,
  type WorkerFault,
} from './plan.ts';
import { createRandom } from './random.ts';
import { drawTasks, type Task } from './tasks.ts';

export type Kind = 'sentinel' | 'cluster';

/** `which` is from [0, 1): a place in the list of the primaries. */
export type Takeover = {
  readonly which: number;
} & (
  | /** As an operator does it: `SENTINEL FAILOVER`, `CLUSTER FAILOVER`. */
    { readonly how: 'ordered' }
  /** The primary is killed. */
  | { readonly how: 'killed' }
  /** The primary answers nothing, and goes on when its replica has taken over. */
  | { readonly how: 'frozen' }
  /** The primary is killed, and its replica lacks what happened in the `lagMs` before: nothing of that was confirmed. */
  | { readonly how: 'behind'; readonly lagMs: number }
);

export type ServerFault =
  | WorkerFault
  /** All connections of clients, workers and the controller to one of the servers break. */
  | { readonly kind: 'cut'; readonly which: number }
  /** It forgets all scripts: NOSCRIPT. */
  | { readonly kind: 'script-flush'; readonly which: number }
  | { readonly kind: 'controller-kill'; readonly downMs: number };

export interface TakeoverPlan {
  readonly kind: Kind;
  readonly seed: number;
  readonly leaseMs: number;
  readonly tasks: readonly Task[];
  readonly rounds: readonly Round<ServerFault>[];
  /** The next one; without an end. */
  readonly takeovers: () => Takeover;
  /** From the begin of one to the begin of the next, ms; later where it is not over by then. */
  readonly everyMs: number;
  /** Tasks that a worker runs at a time. */
  readonly concurrency: number;
}

/**
 * Takeovers come by the clock, and each one slows everything down for some ten seconds: until the next replica is in step, what a worker
 * settles waits for its confirmation in vain. So a wave is as large as what is done meanwhile, and as many faults hit it as would in that time.
 */
const ROUND: RoundShape = { wave: 8_000, count: 10, withinMs: 12_000 };
/** Of a worker: what one turn settles shares one wait for the replica. */
const CONCURRENCY = 32;

/** `parts`: of batches, all together. */
export function createTakeoverPlan(
  kind: Kind,
  seed: number,
  count: number,
  everyMs: number,
  parts = usualParts(count),
): TakeoverPlan {
  const queues = createRandom(seed, 'queues');
  const tasks = drawTasks(seed, count, () => (queues.chance(LOW) ? 1 : 0));
  const random = createRandom(seed, 'faults');
  const cards: (() => ServerFault)[] = [
    ...workerCards(random, LEASE_MS),
    ...Array.from({ length: 4 }, () => (): ServerFault => ({ kind: 'cut', which: random.real() })),
    () => ({ kind: 'script-flush', which: random.real() }),
    () => ({ kind: 'controller-kill', downMs: random.int(0, 500) }),
    () => ({ kind: 'controller-kill', downMs: random.int(500, 3_000) }),
  ];
  const batches = drawBatches(seed, parts);
  const rounds = drawRounds(seed, tasks, ROUND, createDealer(random, cards), batches);
  const which = createRandom(seed, 'takeovers');
  const takeovers = createDealer<Takeover>(which, [
    () => ({ how: 'ordered', which: which.real() }),
    () => ({ how: 'killed', which: which.real() }),
    () => ({ how: 'frozen', which: which.real() }),
    () => ({ how: 'behind', which: which.real(), lagMs: which.int(50, 1_500) }),
  ]);
  return { kind, seed, leaseMs: LEASE_MS, tasks, rounds, takeovers, everyMs, concurrency: CONCURRENCY };
}

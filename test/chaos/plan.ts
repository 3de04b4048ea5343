/**
 * What a run does, drawn from its seed: the same seed gives the same tasks in the same waves, and the same faults at
 * the same time after the same wave. Real time makes the interleaving different each time all the same. Pure.
 *
 * A run is a sequence of rounds. In each one a client pushes a wave of tasks, faults strike while it is worked off, and
 * the next round begins when all of them have struck and little of the wave is left; sometimes only when nothing is
 * left, so that the pool scales in. Faults are dealt from a deck that holds every kind, so that each run has them all.
 */
import { drawBatches, usualParts, type BatchPlan } from './batch-plan.ts';
import { createRandom, type Random } from './random.ts';
import { drawTasks, type Task } from './tasks.ts';

/** `who` and the like are from [0, 1): a place in the list of those who are there when the fault strikes. */
export type Fault =
  /** SIGKILL. A container that is restarted keeps its worker's name; a pod that is replaced does not. */
  | {
      readonly kind: 'kill';
      readonly who: number;
      readonly share: number;
      readonly back: 'restarted' | 'replaced';
    }
  /** SIGSTOP, and SIGCONT after `ms`. */
  | { readonly kind: 'pause'; readonly who: number; readonly ms: number }
  /** SIGTERM from outside, as a rollout or the drain of a node does. */
  | { readonly kind: 'evict'; readonly who: number }
  /** Connections break. */
  | {
      readonly kind: 'cut';
      readonly whose: 'worker' | 'workers' | 'clients' | 'controller';
      readonly who: number;
    }
  /** Packets are lost for `ms`. */
  | {
      readonly kind: 'stall';
      readonly who: number;
      readonly direction: 'requests' | 'replies' | 'both';
      readonly ms: number;
    }
  /** Connections stay open and never carry anything again. */
  | { readonly kind: 'half-open'; readonly whose: 'worker' | 'clients' | 'controller'; readonly who: number }
  | { readonly kind: 'redis-restart'; readonly signal: 'SIGTERM' | 'SIGKILL'; readonly downMs: number }
  /** Redis is there and does not answer. */
  | { readonly kind: 'redis-freeze'; readonly ms: number }
  /** Redis is killed, and comes back without its last `steps` changes, as from an older snapshot. */
  | { readonly kind: 'forget'; readonly steps: number }
  /** Redis is killed, and a replica takes over that is `lagMs` behind. */
  | { readonly kind: 'failover'; readonly lagMs: number }
  /** The same, but the old primary lives on for `splitMs`, with the clients and workers that do not know. */
  | { readonly kind: 'split'; readonly lagMs: number; readonly splitMs: number }
  /** `maxmemory` is reached: writes that need memory are refused. */
  | { readonly kind: 'redis-full'; readonly ms: number }
  /** Too few replicas: all writes are refused. */
  | { readonly kind: 'redis-refuses'; readonly ms: number }
  /** The wall clock of Redis is `byMs` ahead for a while, or behind. */
  | { readonly kind: 'clock-step'; readonly byMs: number; readonly ms: number }
  /** Redis forgets all scripts: NOSCRIPT. */
  | { readonly kind: 'script-flush' }
  | { readonly kind: 'controller-kill'; readonly downMs: number }
  /** A plain RPOP worker takes so many tasks. Redis stays up meanwhile, as such a worker loses what it holds. */
  | { readonly kind: 'plain-worker'; readonly tasks: number };

/** What happens to worker processes, whatever their Redis is. */
export type WorkerFault = Extract<Fault, { kind: 'kill' | 'pause' | 'evict' }>;

export interface Round<F = Fault> {
  readonly tasks: readonly Task[];
  readonly client: 'library' | 'plain';
  /** Begun together with the wave. */
  readonly batches: readonly BatchPlan[];
  /** After the wave was pushed, or after the first of it, ms; in order. */
  readonly faults: readonly { readonly afterMs: number; readonly fault: F }[];
  /** The next round begins when no more than this is left of the tasks pushed. */
  readonly leave: number;
  /** And after this pause, ms. */
  readonly restMs: number;
}

export interface Plan {
  readonly seed: number;
  readonly leaseMs: number;
  readonly tasks: readonly Task[];
  readonly batches: readonly BatchPlan[];
  readonly rounds: readonly Round[];
  /** Of the only queue; without, there are two queues. */
  readonly partitions?: number;
}

/** The shortest lease that a worker takes is 1 s; on a busy machine that is too short to be kept without a fault. */
export const LEASE_MS = 3_000;
/** Shares of it: what a worker survives in its epoch, and what it does not. */
const SHORT = [0.05, 0.5] as const;
const LONG = [1.3, 2] as const;
const FAULTS_A_ROUND = 5;
const FAULTS_WITHIN_MS = 1_500;
/** The share of tasks in the lower of the two queues. */
export const LOW = 0.3;

/** `parts`: of batches, all together. `partitions`: of the only queue; without, there are two queues. */
export function createPlan(
  seed: number,
  count: number,
  parts = usualParts(count),
  partitions?: number,
): Plan {
  const queues = createRandom(seed, 'queues');
  const tasks = drawTasks(seed, count, () => (queues.chance(LOW) ? 1 : 0));
  const random = createRandom(seed, 'faults');
  const faults = { count: FAULTS_A_ROUND, withinMs: FAULTS_WITHIN_MS };
  const batches = drawBatches(seed, parts, partitions === undefined ? undefined : ['library']);
  const rounds = drawRounds(seed, tasks, faults, createDealer(random, cards(random, LEASE_MS)), batches);
  return { seed, leaseMs: LEASE_MS, tasks, batches, rounds, ...(partitions && { partitions }) };
}

/** What a round is made of. */
export interface RoundShape {
  /** Tasks pushed at its beginning; fewer where that would make less than eight rounds. */
  readonly wave?: number;
  /** Faults in the first `withinMs` after that. */
  readonly count: number;
  readonly withinMs: number;
}

/** Cuts tasks into waves, and deals faults and batches to each. */
export function drawRounds<F>(
  seed: number,
  tasks: readonly Task[],
  { wave: most = 1_500, count: faults, withinMs }: RoundShape,
  deal: () => F,
  batches: readonly BatchPlan[] = [],
): Round<F>[] {
  const random = createRandom(seed, 'rounds');
  const count = tasks.length;
  const size = Math.ceil(count / Math.min(Math.max(8, Math.round(count / most)), count));
  const rounds: Round<F>[] = [];
  const number = Math.ceil(count / size);
  for (let from = 0; from < count; from += size) {
    const wave = tasks.slice(from, from + size);
    const times = Array.from({ length: faults }, () => random.int(50, withinMs));
    const calm = random.chance(0.25);
    rounds.push({
      tasks: wave,
      client: random.pick(['library', 'plain']),
      batches: batches.filter((_, i) => i % number === rounds.length),
      faults: times.toSorted((a, b) => a - b).map((afterMs) => ({ afterMs, fault: deal() })),
      leave: calm ? 0 : Math.floor(wave.length * random.real() * 0.3),
      restMs: calm ? random.int(1_500, 3_000) : 0,
    });
  }
  return rounds;
}

/** Deals from shuffled decks: each card comes once before any comes again. A card draws its fault when it is dealt. */
export function createDealer<F>(random: Random, deck: readonly (() => F)[]): () => F {
  let left: (() => F)[] = [];
  return () => {
    if (left.length === 0) left = random.shuffled(deck);
    return (left.pop() as () => F)();
  };
}

/** Each kind of fault of workers in its proportion. */
export function workerCards(random: Random, leaseMs: number): (() => WorkerFault)[] {
  const within = (from: number, to: number): number =>
    Math.round(leaseMs * (from + (to - from) * random.real()));
  const who = (): number => random.real();
  const kill = (share: number): WorkerFault => ({
    kind: 'kill',
    who: who(),
    share,
    back: random.pick(['restarted', 'replaced']),
  });
  const pauses: readonly (readonly [number, number])[] = [SHORT, SHORT, LONG, LONG, LONG];
  return [
    ...Array.from({ length: 4 }, () => () => kill(0)),
    () => kill(0.5),
    () => kill(1),
    ...pauses.map((range) => (): WorkerFault => ({ kind: 'pause', who: who(), ms: within(...range) })),
    ...Array.from({ length: 2 }, () => (): WorkerFault => ({ kind: 'evict', who: who() })),
  ];
}

/** Each kind of fault in its proportion. */
function cards(random: Random, leaseMs: number): (() => Fault)[] {
  const within = (from: number, to: number) => (): number =>
    Math.round(leaseMs * (from + (to - from) * random.real()));
  const who = (): number => random.real();
  const short = within(...SHORT);
  const long = within(...LONG);
  const stall = (direction: 'requests' | 'replies' | 'both', ms: number): Fault => ({
    kind: 'stall',
    who: who(),
    direction,
    ms,
  });
  return [
    ...workerCards(random, leaseMs),
    ...(['worker', 'worker', 'workers', 'clients', 'controller'] as const).map((whose) => (): Fault => ({
      kind: 'cut',
      whose,
      who: who(),
    })),
    () => stall('requests', short()),
    () => stall('replies', short()),
    () => stall('both', long()),
    ...(['worker', 'clients', 'controller'] as const).map((whose) => (): Fault => ({
      kind: 'half-open',
      whose,
      who: who(),
    })),
    ...(['SIGTERM', 'SIGKILL', 'SIGKILL'] as const).map((signal) => (): Fault => ({
      kind: 'redis-restart',
      signal,
      downMs: random.chance(0.2) ? long() : random.int(0, 300),
    })),
    () => ({ kind: 'redis-freeze', ms: random.int(100, 1_000) }),
    () => ({ kind: 'forget', steps: random.int(1, 40) }),
    () => ({ kind: 'forget', steps: random.int(40, 400) }),
    () => ({ kind: 'failover', lagMs: random.int(1, 300) }),
    () => ({ kind: 'split', lagMs: random.int(1, 100), splitMs: short() }),
    () => ({ kind: 'redis-full', ms: long() }),
    () => ({ kind: 'redis-refuses', ms: long() }),
    () => ({ kind: 'clock-step', byMs: within(1.5, 5)(), ms: short() }),
    () => ({ kind: 'clock-step', byMs: -within(1.5, 3)(), ms: short() }),
    () => ({ kind: 'script-flush' }),
    () => ({ kind: 'controller-kill', downMs: random.int(0, 500) }),
    () => ({ kind: 'controller-kill', downMs: random.int(500, 3_000) }),
    () => ({ kind: 'plain-worker', tasks: random.int(5, 100) }),
  ];
}

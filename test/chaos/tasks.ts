/** The tasks of a run, drawn from its seed: many sizes, equal bodies, and handlers that are slow, compute or fail. Pure. */
import { createRandom, type Random } from './random.ts';

/** What a task tells its handler to do. A task that is plain text is done at once. */
export interface Order {
  readonly id: string;
  /** Wait so long, ms. */
  readonly ms?: number;
  /** Compute without a pause for so long, ms. */
  readonly compute?: number;
  /** Fail so many attempts. */
  readonly failures?: number;
  /** Fail for good. */
  readonly final?: boolean;
  readonly pad?: string;
  /** Take all memory at the first try, so that the container is killed for it. */
  readonly hog?: boolean;
  /** Fail for good until its client allows it to succeed; see ledger.ts. */
  readonly forbidden?: boolean;
  /** Add these tasks; their ids come from the library. */
  readonly spawn?: readonly Omit<Order, 'id'>[];
  /** It follows a batch: count the results of its parts. */
  readonly joins?: boolean;
}

export interface Task {
  readonly id: string;
  readonly raw: string;
  /** Its queue's place among those of the run; 0 goes first. */
  readonly queue: number;
  /** How often it is pushed: equal bodies are different tasks with one id. */
  readonly copies: number;
  /** Only the library can push it so; 0 for at once. */
  readonly delayMs: number;
  /** How it must end where only Millrace's workers run it. */
  readonly outcome: 'result' | 'dead';
  /** Attempts that it takes; `undefined` where copies share them. */
  readonly attempts: number | undefined;
}

/** What the workers of a run are told. */
export const ATTEMPTS = 4;

/** `queue`: the place of the next task's queue. */
export function drawTasks(seed: number, count: number, queue: () => number = () => 0): Task[] {
  const random = createRandom(seed, 'tasks');
  return Array.from({ length: count }, (_, i) => Object.assign(drawTask(random, i), { queue: queue() }));
}

function drawTask(random: Random, i: number): Task {
  const id = `t${i}`;
  const draw = random.real();
  if (draw < 0.08) return text(random, i);
  const ms = random.chance(0.1) ? random.int(50, 400) : random.int(0, 60);
  if (draw < 0.11) return order({ id, ms, failures: random.int(1, ATTEMPTS - 1) });
  if (draw < 0.12) return order({ id, ms, failures: ATTEMPTS });
  if (draw < 0.13) return order({ id, ms, final: true });
  if (draw < 0.14) return order({ id, ms, pad: 'x'.repeat(random.int(1_000, 30_000)) });
  if (draw < 0.15) return order({ id, compute: random.int(1, 60) });
  if (draw < 0.1503) return order({ id, compute: random.int(1_000, 4_000) });
  if (draw < 0.1512) return order({ id, ms: random.int(1_000, 3_000) });
  if (draw < 0.18) return { ...order({ id, ms }), delayMs: random.int(1, 3_000) };
  if (draw < 0.2) return { ...order({ id, ms }), copies: random.int(2, 4), attempts: undefined };
  return order({ id, ms });
}

/** A task for which a container with a limit of memory is killed once. */
export function hogTask(number: number): Task {
  return order({ id: `hog${number}`, hog: true });
}

function order(what: Order): Task {
  const { id, failures = 0, final = false } = what;
  const dead = final || failures >= ATTEMPTS;
  return {
    id,
    raw: JSON.stringify(what),
    queue: 0,
    copies: 1,
    delayMs: 0,
    outcome: dead ? 'dead' : 'result',
    attempts: final ? 1 : Math.min(failures + 1, ATTEMPTS),
  };
}

/** The id of a text is the whole text; some are longer than what a digest of it would be. */
function text(random: Random, i: number): Task {
  const raw = `text ${i}${' and so on'.repeat(random.int(0, 8))}`;
  const copies = random.chance(0.1) ? 2 : 1;
  return {
    id: raw,
    raw,
    queue: 0,
    copies,
    delayMs: 0,
    outcome: 'result',
    attempts: copies > 1 ? undefined : 1,
  };
}

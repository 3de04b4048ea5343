/**
 * A queue in partitions is many queues, each with turns and a blocked move: a worker without work would be busy with them. So it
 * rests in a partition in which nothing has happened for the length of a lease, while it holds nothing itself: it makes no turns there
 * and blocks no move, is told by the server when something happens (queue/changes.ts), and renews its lease, a longer one, now and
 * then (queue/scripts/workers/rest.lua). Whatever happens, and whatever is not as expected, ends the rest: then turns go on as always.
 *
 *   awake ──nothing happens, no move is blocked──▶ trying ──listening, and Redis agrees──▶ resting
 *     ▲                                               │                                       │
 *     └────a change, a turn, tasks in another queue, a refusal, a server that is away ◀────────┘
 *
 * What holds while it rests is in rest.lua. A worker that cannot listen (client tracking is refused) does not rest.
 */
import type { Redis } from 'ioredis';
import type { Listening, QueueChanges } from '../../queue/changes.ts';
import { within } from '../../queue/connection/within.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { rest, REST_LEASE, REST_PAUSE, type Rested } from '../../queue/workers/rest.ts';

const TIMEOUT_MS = 3_000;

export interface RestOptions {
  readonly changes: QueueChanges;
  readonly redis: Redis;
  readonly keys: QueueKeys;
  readonly worker: string;
  readonly epoch: number;
  readonly leaseMs: number;
  /** How long nothing must have happened, ms. */
  readonly afterMs: number;
  /** The number of the last turn, and when something last happened; `undefined` while the worker must not rest. */
  readonly situation: () => { readonly turns: number; readonly activeAt: number } | undefined;
  /** The rest goes on, or begins; the lease is that long now. */
  readonly onRested: (rested: Rested, leaseMs: number) => void;
  /** It has ended: a turn is to be made. */
  readonly onEnd: () => void;
  /** Something else than a change has happened: the loop is to look again. */
  readonly wake: () => void;
}

export interface Rest extends Disposable {
  /** It rests, or tries to: no turn is due by itself, and no move is to begin. */
  readonly resting: boolean;
  /** Begins what is due. `mayBegin`: no move is blocked in the server. */
  step(now: number, mayBegin: boolean): void;
  /** How long until the next step, ms. */
  dueIn(now: number): number;
  /** The worker has something to do. */
  end(): void;
}

interface RestState {
  stage: 'awake' | 'trying' | 'resting';
  /** Of what was begun last: what it leads to counts only if nothing was begun or ended since. */
  generation: number;
  listening: Listening | undefined;
  /** When the last rest, or attempt, ended. */
  endedAt: number;
  renewAt: number;
}

export function createRest(options: RestOptions): Rest {
  const state: RestState = {
    stage: 'awake',
    generation: 0,
    listening: undefined,
    endedAt: -Infinity,
    renewAt: Infinity,
  };
  return {
    get resting() {
      return state.stage !== 'awake';
    },
    step: (now, mayBegin) => {
      if (state.stage === 'awake' && mayBegin && isWanted(options, state, now)) begin(options, state);
      else if (state.stage === 'resting' && now >= state.renewAt) {
        state.renewAt = Infinity;
        void settle(options, state, agreed(options, state));
      }
    },
    dueIn: (now) => (state.stage === 'resting' ? Math.max(0, state.renewAt - now) : Infinity),
    end: () => end(state),
    [Symbol.dispose]: () => end(state),
  };
}

function isWanted({ situation, afterMs }: RestOptions, { endedAt }: RestState, now: number): boolean {
  const found = situation();
  return found !== undefined && now >= Math.max(found.activeAt, endedAt) + afterMs;
}

function begin(options: RestOptions, state: RestState): void {
  state.stage = 'trying';
  void settle(options, state, listenFirst(options, state));
}

function end(state: RestState): void {
  if (state.stage === 'awake') return;
  state.stage = 'awake';
  state.generation++;
  state.listening?.stop();
  state.listening = undefined;
  state.endedAt = performance.now();
}

/** Listens before Redis is asked, so that nothing can happen unnoticed. */
async function listenFirst(options: RestOptions, state: RestState): Promise<Rested | undefined> {
  const { changes, keys, worker, onEnd } = options;
  const mine = ++state.generation;
  const listening = await changes.listen(keys, worker, () => {
    if (state.generation !== mine) return;
    end(state);
    onEnd();
  });
  if (state.generation !== mine) {
    listening?.stop();
    return undefined;
  }
  state.listening = listening;
  return agreed(options, state);
}

/** Whether Redis agrees that nothing is to be done, and the server would report if that changed. */
async function agreed(
  { redis, keys, worker, epoch, leaseMs, situation }: RestOptions,
  { listening }: RestState,
): Promise<Rested | undefined> {
  const found = situation();
  if (!found || !listening?.sound) return undefined;
  const times = { leaseMs: REST_LEASE * leaseMs, pauseMs: REST_PAUSE * leaseMs };
  const rested = await rest(redis, keys, { worker, epoch, turn: found.turns, ...times });
  return listening.sound ? rested : undefined;
}

/** Rests if that is agreed. */
async function settle(
  { leaseMs, situation, onRested, onEnd, wake }: RestOptions,
  state: RestState,
  agreeing: Promise<Rested | undefined>,
): Promise<void> {
  const { generation } = state;
  // no turn is made meanwhile
  const timeoutMs = Math.min(TIMEOUT_MS, leaseMs / 3);
  const rested = await within(timeoutMs, agreeing, 'the rest').catch(() => undefined);
  if (state.generation !== generation) return;
  if (!rested || !situation()) {
    end(state);
    return onEnd();
  }
  state.stage = 'resting';
  state.renewAt = performance.now() + REST_PAUSE * leaseMs;
  onRested(rested, REST_LEASE * leaseMs);
  wake();
}

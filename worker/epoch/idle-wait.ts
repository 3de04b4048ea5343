/**
 * How a worker waits for tasks when there are none.
 *
 * Waiting is one blocking move from the queue to the worker's wake list, on a connection of its own. It ends by
 * itself after BLOCK_MS and is begun again; a connection that does not answer by then is dead and is replaced.
 *
 * The script that takes what was moved (queue/scripts/workers/adopt.lua) is sent with it. Redis runs that as soon as the move has ended, so
 * that the task can begin when the move's reply is here. Where the script leaves it alone, or its reply is lost, the next turn brings it.
 */
import type { Redis } from 'ioredis';
import { isReply } from '../../queue/connection/reply-code.ts';
import { within } from '../../queue/connection/connection.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { adopt, type Adopted, type AdoptRequest } from '../../queue/workers/adopt.ts';
import { unblockWaits } from '../../queue/workers/worker-connections.ts';
import { BLOCK_MS } from '../../queue/workers/reap.ts';
import { sleep } from '../../runtime/timers.ts';

/** A move that was cut off or refused must not be resent by the client: the loop makes a turn first. */
export const BLOCKER_OPTIONS = { autoResendUnfulfilledCommands: false } as const;

class ConnectionCut extends Error {
  override name = 'ConnectionCut';
}

export interface IdleWait {
  /** Begins to wait, unless it already does. */
  begin(): void;
  /** Whether a move may be blocked in the server. */
  readonly waiting: boolean;
  /** Whether it is certain that no move is blocked in the server. */
  readonly isOver: boolean;
  /** Ends the wait that there is now, if any; `onDoubt` is called when it has ended. */
  pause(): void;
  /** Ends the wait. Resolves to whether it is certain that no move is still blocked in the server. */
  end(): Promise<boolean>;
}

export interface IdleEvents {
  /** What the worker knows as the wait begins. */
  readonly known: () => AdoptRequest;
  /** A task was moved, and is in flight. */
  readonly onAdopted: (task: Adopted) => void;
  /** Something was moved: a turn is to take it. */
  readonly onTask: () => void;
  /** Something may have been moved, or the wait was ended from outside: a turn will show. */
  readonly onDoubt: () => void;
  /** The connection is ready: a wait can begin. */
  readonly onReady: () => void;
  /** The wait has ended, whatever else was called. */
  readonly onEnd: () => void;
  /** The wait is on another connection now: its id in the server. Called again when it rejects. */
  readonly onConnection: (id: number) => Promise<void>;
}

const SLACK_MS = 2_000;
const UNBLOCK_TIMEOUT_MS = 1_000;
const UNBLOCK_EVERY_MS = 20;
/** A move that ends this much too early was ended from outside, ms. */
const UNBLOCKED_MS = 100;
const REFUSED_PAUSE_MS = 500;

/** Is resolved when nothing of the wait is left to do. */
type Wait = PromiseWithResolvers<void>;

interface WaitState extends IdleEvents {
  readonly blocker: Redis;
  readonly main: Redis;
  readonly keys: QueueKeys;
  readonly worker: string;
  waiting: Wait | undefined;
  clientId: Promise<number | undefined>;
  /** The connection that `clientId` is of. */
  identified: Redis['stream'] | undefined;
  /** The connection that was reported last: its number may mean another one after a restart or a failover. */
  noted: Redis['stream'] | undefined;
  ended: boolean;
  pausing: boolean;
  /** Whether the connection is awaited. */
  connecting: boolean;
  refusedUntil: number;
  /** A move whose connection was lost may be blocked in the server until then. */
  uncertainUntil: number;
}

export function createIdleWait(
  blocker: Redis,
  main: Redis,
  keys: QueueKeys,
  worker: string,
  events: IdleEvents,
): IdleWait {
  const state: WaitState = {
    blocker,
    main,
    keys,
    worker,
    ...events,
    waiting: undefined,
    clientId: Promise.resolve(undefined),
    identified: undefined,
    noted: undefined,
    ended: false,
    pausing: false,
    connecting: false,
    refusedUntil: 0,
    uncertainUntil: 0,
  };
  return {
    begin: () => begin(state),
    get waiting() {
      return state.waiting !== undefined;
    },
    get isOver() {
      return state.waiting === undefined && performance.now() > state.uncertainUntil;
    },
    pause: () => pause(state),
    end: () => end(state),
  };
}

function begin(state: WaitState): void {
  if (state.ended || state.waiting || performance.now() < state.refusedUntil) return;
  if (state.blocker.status !== 'ready') return beginWhenReady(state);
  const own: Wait = Promise.withResolvers();
  state.waiting = own;
  void wait(state, own).finally(() => {
    conclude(state, own);
    own.resolve();
  });
}

/** Another wait may begin, and this one does not end that. */
function conclude(state: WaitState, own: Wait): void {
  if (state.waiting !== own) return;
  state.waiting = undefined;
  state.onEnd();
}

/** Moves sent before the connection is ready would queue up, and each of them would move a task. */
function beginWhenReady(state: WaitState): void {
  if (state.connecting) return;
  state.connecting = true;
  state.blocker.once('ready', () => {
    state.connecting = false;
    if (!state.ended) state.onReady();
  });
}

async function wait(state: WaitState, own: Wait): Promise<void> {
  const { blocker } = state;
  identify(state);
  const began = performance.now();
  const moved = await moveOnce(state, own);
  if (moved === 'adopted') return;
  if (moved === 'moved') return state.onTask();
  if (moved === 'unblocked') return state.onDoubt();
  if (moved === 'timeout') return;
  // a connection that is cut once may wait again immediately, one that is cut repeatedly may not
  const again = performance.now() - began < REFUSED_PAUSE_MS;
  state.refusedUntil = moved === 'cut' && !again ? 0 : performance.now() + REFUSED_PAUSE_MS;
  if (moved === 'refused') return; // the turn reports that too
  // a reply may have been lost: make a turn, then leave the server alone for a moment. In one that does not know this worker, none was: turns
  // may go to another server, or show that this one has lost its data
  if (moved !== 'unknown') state.uncertainUntil = performance.now() + BLOCK_MS;
  if (blocker.status === 'ready') blocker.disconnect(true);
  state.onDoubt();
}

/** A blocked connection cannot report its id in the server: requests it just before, in the same packet, and reports it. */
function identify(state: WaitState): void {
  const { blocker } = state;
  if (blocker.stream !== state.identified) {
    state.identified = blocker.stream;
    state.clientId = blocker.client('ID').catch(() => undefined);
  }
  void state.clientId.then((id) => {
    const { stream } = blocker;
    if (id === undefined) state.identified = undefined;
    if (id === undefined || stream === state.noted) return;
    state.noted = stream;
    state.onConnection(id).catch(() => (state.noted = undefined));
  });
}

function pause(state: WaitState): void {
  if (!state.waiting || state.pausing) return;
  state.pausing = true;
  void unblock(state, state.waiting.promise)
    .catch(() => undefined)
    .finally(() => (state.pausing = false));
}

async function end(state: WaitState): Promise<boolean> {
  state.ended = true;
  try {
    if (state.waiting) await unblock(state, state.waiting.promise);
    return performance.now() > state.uncertainUntil;
  } catch {
    return false;
  }
}

/** Ends `last`, the wait that there is. */
async function unblock({ blocker, main, worker, clientId }: WaitState, last: Promise<void>): Promise<void> {
  const send = async (id: number): Promise<boolean> => (await unblockWaits(main, [id], worker)) > 0;
  const unblocking = unblockUntilOver(last, clientId, send, () => blocker.disconnect(true));
  await within(UNBLOCK_TIMEOUT_MS, unblocking, 'CLIENT UNBLOCK');
}

/**
 * How a blocking move ended: with a task that was taken, or that a turn is to take; without, in its time or unblocked from outside; in a server
 * that does not know the worker; refused by Redis (wrong type, no permission); or with its connection, which was cut or does not answer.
 */
type MoveEnd = 'adopted' | 'moved' | 'unknown' | 'timeout' | 'unblocked' | 'refused' | 'cut' | 'silent';

/** Moves one task, and takes it. Never rejects. */
async function moveOnce(state: WaitState, own: Wait): Promise<MoveEnd> {
  const { blocker, keys, worker } = state;
  const began = performance.now();
  const { stream } = blocker;
  // in one packet, so that Redis reads both at once
  stream.cork();
  const move = blocker.blmoveBuffer(keys.queue, keys.wake(worker), 'RIGHT', 'LEFT', BLOCK_MS / 1_000);
  const adopting = adopt(blocker, keys, state.known()).then(
    (task): MoveEnd | undefined => {
      if (!task || task === 'unknown') return task;
      takeOver(state, own, task);
      return 'adopted';
    },
    (error: unknown) => {
      if (isReply(error)) return undefined;
      throw error;
    },
  );
  stream.uncork();
  // a move that is cut off is neither resent nor rejected by the client: it would be waited for until it must have ended
  const cut = Promise.withResolvers<never>();
  const onClose = (): void => cut.reject(new ConnectionCut('the connection was closed'));
  blocker.once('close', onClose);
  try {
    const both = Promise.all([move, adopting]);
    const [task, taken] = await within(BLOCK_MS + SLACK_MS, Promise.race([both, cut.promise]), 'BLMOVE');
    const empty = performance.now() - began < BLOCK_MS - UNBLOCKED_MS ? 'unblocked' : 'timeout';
    return taken ?? (task === null ? empty : 'moved');
  } catch (error) {
    if (isReply(error)) return 'refused';
    return error instanceof ConnectionCut ? 'cut' : 'silent';
  } finally {
    blocker.off('close', onClose);
  }
}

/** Directly from the reply: before the promises of the wait are settled, for which the task would have to wait. */
function takeOver(state: WaitState, own: Wait, task: Adopted): void {
  // after the end it is nobody's: what is in flight is put back with the epoch
  if (state.ended) return;
  conclude(state, own);
  state.onAdopted(task);
}

/**
 * Unblocks a connection by its id until `last`, the wait on it, is over: repeatedly, because a move that is still on its way to the
 * server cannot be unblocked yet.
 */
async function unblockUntilOver(
  last: Promise<void>,
  clientId: Promise<number | undefined>,
  send: (id: number) => Promise<boolean>,
  onUnknown: () => void,
): Promise<void> {
  let over = false;
  const ending = last.finally(() => (over = true));
  const id = await Promise.race([clientId, ending]);
  while (!over) {
    // the two connections may have reached different servers, or may not name themselves
    if (typeof id === 'number' && !(await send(id)) && !over) onUnknown();
    await Promise.race([ending, sleep(UNBLOCK_EVERY_MS)]);
  }
}

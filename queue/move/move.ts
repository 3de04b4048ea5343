/**
 * `queue/move/` takes queues and the addresses of two places, and moves all that belongs to the queues from one to the other while
 * clients and workers use both. It knows nothing of flags, pools or terminals.
 *
 * Each task is in exactly one of: the old place, the hand of the move in the old place, the new place. A batch goes from the first
 * to the second by one script, and is written to the third by another one that refuses a number which it has seen; only then is it
 * deleted from the hand. So a process may be killed, and a connection break, anywhere: whoever continues finds the batch in the hand
 * and sends it again. What has an id of its own (results, errors, cancel marks) is copied and then deleted, which may be repeated.
 *
 * The order in which a queue is moved: its pause and its cancel marks, so that they are there before the tasks; tasks, the oldest
 * first; delayed tasks, dead letters, results. Tasks in flight stay with their workers until these have settled them, and what they
 * leave (results, retries, tasks handed back) is moved after that. Counters and the records of pools come last.
 */
import { randomUUID } from 'node:crypto';
import { interval, sleep } from '../../runtime/timers.ts';
import { plural } from '../../runtime/plural.ts';
import type { RedisAddress } from '../connection/connection.ts';
import type { QueueKeys } from '../keys.ts';
import { reapExpired } from '../workers/reap.ts';
import { catchUp, moveKind, openRoute, type Route } from './batches.ts';
import {
  claim,
  endMove,
  markDestination,
  MoveForgotten,
  MoveTaken,
  release,
  renew,
  type Claim,
} from './claim.ts';
import { copyCancelMarks, returnCancelMarks, type CopiedMarks } from './cancel-marks.ts';
import { moveExpiry, moveHash } from './copies.ts';
import { moveCrons } from './crons.ts';
import { refuseWhatStays } from './refusals.ts';
import { copyPause, endPause, moveRecords, type Records } from './records.ts';
import { MoveRefused, openSide, type Side, type SideName } from './side.ts';
import { describeHoldings, survey, type Holdings } from './survey.ts';

export { MoveRefused } from './side.ts';

/** A queue and the lists that it becomes: one, or its partitions. */
export interface MovePlan {
  readonly from: QueueKeys;
  readonly to: readonly [QueueKeys, ...QueueKeys[]];
  /** Where what pools keep beside the queue is, and where it goes; none by default, as for all but one partition. */
  readonly records?: Records;
}

export type Moved = 'tasks' | 'delayed' | 'dead letters' | 'results' | 'errors';

export interface MoveOptions {
  readonly from: RedisAddress;
  readonly to: RedisAddress;
  readonly plans: readonly MovePlan[];
  /** Move into queues that have something already. */
  readonly merge?: boolean;
  /** Leave the result hash where it is: other queues use it, too. */
  readonly keepResults?: boolean;
  /** Keep moving what clients push to the old place, until nothing came for this long, ms. */
  readonly followMs?: number | undefined;
  /** How long to wait for tasks in flight in the old place, ms; without end by default. */
  readonly waitMs?: number | undefined;
  /** Ends the move early; while following, ends that. */
  readonly signal?: AbortSignal;
  /** How long another process waits until it continues the move of one that died, ms. */
  readonly leaseMs?: number;
  /** What there is to move, once that is known; of what a resumed move has left. */
  readonly onTotal?: (total: number) => void;
  readonly onMoved?: (what: Moved, count: number) => void;
  /** Tasks that workers of the old place hold, while only these are waited for. */
  readonly onWaiting?: (inFlight: number) => void;
  /** All that was there is moved; from now on, what clients still push to the old place. */
  readonly onFollowing?: () => void;
  /** A connection has trouble; it is retried. */
  readonly onError?: (side: SideName, error: Error) => void;
}

export interface MoveReport {
  /** An earlier process began it. */
  readonly resumed: boolean;
  readonly moved: Readonly<Record<Moved, number>>;
}

/** The new place has something in queues of these names. */
export class DestinationInUse extends Error {
  override name = 'DestinationInUse';
  /** What it has. */
  readonly found: string;
  constructor(queue: string, found: string) {
    super(`the destination has a queue "${queue}" already: ${found}`);
    this.found = found;
  }
}

/** Old and new place are the same: there is nothing to move. */
export class SamePlace extends Error {
  override name = 'SamePlace';
}

/** Ended before all was moved; the same move goes on later. */
export class MoveInterrupted extends Error {
  override name = 'MoveInterrupted';
}

/** Workers of the old place still hold tasks. */
export class StillInFlight extends Error {
  override name = 'StillInFlight';
  readonly tasks: number;
  constructor(tasks: number) {
    super(`workers of the old place still hold ${plural(tasks, 'task')}`);
    this.tasks = tasks;
  }
}

const LEASE_MS = 5_000;
/** How often the old place is read while it is waited for or followed, ms. */
const POLL_MS = 200;
/** Lists that are moved at the same time. */
const AT_ONCE = 4;

/**
 * Moves queues. Throws `MoveTaken` while another process does, `MoveForgotten` if the old place has lost the record of it, `MovedElsewhere` if an earlier move was not finished and went to
 * another place, `SamePlace`, `DestinationInUse`, `MoveInterrupted` when `signal` aborted, `StillInFlight` after `waitMs`, and `MoveRefused` for an
 * error of a server. After any of these, the same call continues.
 */
export async function moveQueues(options: MoveOptions): Promise<MoveReport> {
  const { from, to, onError } = options;
  await using source = openSide('source', from, (error) => onError?.('source', error));
  await using destination = openSide('destination', to, (error) => onError?.('destination', error));
  await Promise.all([refuseReplica(source), refuseReplica(destination)]);
  await using claims = await claimAll(source, destination, options);
  const { routes, resumed } = await openRoutes(source, destination, claims, options);
  const moved = { tasks: 0, delayed: 0, 'dead letters': 0, results: 0, errors: 0 };
  const run: Run = {
    options,
    routes,
    records: options.plans.flatMap(({ records }) => records ?? []),
    samePlace: claims.samePlace,
    guard: () => claims.check(),
    moved: (what, count) => {
      moved[what] += count;
      options.onMoved?.(what, count);
    },
  };
  await moveAll(run, options.signal);
  await settleDown(run, options.signal);
  // whoever follows moves on anyway
  while (options.followMs === undefined && !run.routes.every(({ emptied }) => emptied))
    await moveAll(run, options.signal);
  if (options.followMs !== undefined) {
    options.onFollowing?.();
    await follow(run, options.followMs, options.signal);
    await settleDown(run, undefined);
  }
  await finish(run);
  return { resumed, moved };
}

/** Commands that a replica refuses would be sent again for ever, as during a failover. */
async function refuseReplica({ name, at }: Side): Promise<void> {
  // a user need not have the right to ask
  const role: unknown = await at('')
    .call('ROLE')
    .catch(() => undefined);
  if (Array.isArray(role) && String(role[0]) === 'slave')
    throw new MoveRefused(name, new Error('it is a read-only replica: name its primary'));
}

interface Run {
  readonly options: MoveOptions;
  readonly routes: readonly Route[];
  readonly records: readonly Records[];
  /** The two places are one server or cluster. */
  readonly samePlace: boolean;
  /** Throws if another process has taken over. */
  readonly guard: () => void;
  readonly moved: (what: Moved, count: number) => void;
}

interface Claims extends AsyncDisposable {
  readonly plans: readonly (MovePlan & { readonly claimed: Claim })[];
  readonly samePlace: boolean;
  readonly check: () => void;
}

/** Claims all queues and keeps their leases until it is disposed of. */
async function claimAll(source: Side, destination: Side, options: MoveOptions): Promise<Claims> {
  const { leaseMs = LEASE_MS } = options;
  const process = randomUUID();
  const plans: (MovePlan & { claimed: Claim })[] = [];
  let lost: unknown;
  const beat = interval(leaseMs / 3, () => {
    for (const { claimed } of plans)
      renew(source, claimed).catch((error: unknown) => {
        if (error instanceof MoveTaken || error instanceof MoveForgotten) lost = error;
      });
  });
  const end = async (): Promise<void> => {
    beat.clear();
    await Promise.all(plans.map(({ claimed }) => release(source, claimed).catch(() => undefined)));
  };
  try {
    let samePlace = false;
    for (const plan of options.plans) {
      const claimed = await claim(source, plan.from, process, leaseMs);
      plans.push({ ...plan, claimed });
      await refuseWhatStays(source, destination, claimed);
      samePlace = await sees(destination, claimed);
      // a list of the new number of partitions stays what it is
      if (!samePlace || !plan.to.some(({ queue }) => queue === plan.from.queue)) continue;
      plans.pop();
      if (claimed.resumed) await release(source, claimed);
      else await endMove(source, destination, claimed, []);
    }
    if (plans.length === 0)
      throw new SamePlace('each of these lists is a list of the destination: there is nothing to move');
    return {
      plans,
      samePlace,
      check: () => {
        if (lost !== undefined) throw lost as Error;
      },
      [Symbol.asyncDispose]: end,
    };
  } catch (error) {
    await end();
    throw error;
  }
}

/** Whether the destination is the place in which this queue was claimed. */
async function sees(destination: Side, { keys, id }: Claim): Promise<boolean> {
  return (await destination.ask(destination.at(keys.queue).hget(keys.move, 'id'))) === id;
}

async function openRoutes(
  source: Side,
  destination: Side,
  { plans, samePlace }: Claims,
  options: MoveOptions,
): Promise<{ routes: Route[]; resumed: boolean }> {
  const resumed = plans.some(({ claimed }) => claimed.resumed);
  const holdings = await Promise.all(plans.map(({ from }) => survey(source, from)));
  // with nothing to move there is nothing to merge: the last process may have ended with its last command
  const needsEmpty = !samePlace && !options.merge && !resumed && describeHoldings(holdings) !== undefined;
  if (needsEmpty) await checkEmpty(destination, plans);
  const routes: Route[] = [];
  for (const { claimed, to } of plans) {
    await markDestination(source, destination, claimed, to);
    routes.push(await openRoute(source, destination, claimed, to));
  }
  options.onTotal?.(holdings.reduce((sum, one) => sum + totalOf(one, options), 0));
  return { routes, resumed };
}

function totalOf(
  { waiting, delayed, dead, inHand, results, errors }: Holdings,
  options: MoveOptions,
): number {
  return waiting + delayed + dead + inHand + errors + (options.keepResults ? 0 : results);
}

async function checkEmpty(destination: Side, plans: readonly MovePlan[]): Promise<void> {
  for (const { to } of plans) {
    const found = describeHoldings(await Promise.all(to.map((keys) => survey(destination, keys))));
    if (found !== undefined) throw new DestinationInUse(to[0].queue, found);
  }
}

/** One pass over all queues; throws `MoveInterrupted`. */
async function moveAll(run: Run, signal: AbortSignal | undefined): Promise<void> {
  await each(run, async (route) => {
    const marks = await moveTasks(run, route, signal);
    await moveRest(run, route, signal);
    await marks.settle();
  });
}

/** Calls `act` for each queue, a few at a time. */
async function each(run: Run, act: (route: Route) => Promise<void>): Promise<void> {
  const left = [...run.routes];
  const next = async (): Promise<void> => {
    for (let route = left.shift(); route; route = left.shift()) await act(route);
  };
  const ended = await Promise.allSettled(Array.from({ length: AT_ONCE }, next));
  for (const one of ended) if (one.status === 'rejected') throw one.reason;
}

/** Tasks, and what must be there before them. Resolves to cancel marks that are to be settled after that. */
async function moveTasks(run: Run, route: Route, signal: AbortSignal | undefined): Promise<CopiedMarks> {
  run.guard();
  // once, as the new place may be resumed
  if (!route.caughtUp) await copyPause(route);
  await returnCancelMarks(route);
  const marks = await copyCancelMarks(route);
  for (const kind of ['suspects', 'queue'] as const) {
    route.emptied = await moveKind(route, kind, (of, count) => run.moved(NAMES[of], count), signal);
    check(signal);
  }
  await catchUp(route);
  return marks;
}

const NAMES = {
  suspects: 'tasks',
  queue: 'tasks',
  delayed: 'delayed',
  dead: 'dead letters',
  stats: 'tasks',
} as const;

async function moveRest(run: Run, route: Route, signal: AbortSignal | undefined): Promise<void> {
  const moved = (what: Moved) => (count: number) => run.moved(what, count);
  for (const kind of ['delayed', 'dead'] as const) {
    await moveKind(route, kind, (of, count) => run.moved(NAMES[of], count), signal);
    check(signal);
  }
  await moveHash(route, 'errors', moved('errors'), signal);
  check(signal);
  const { keys } = route.claim;
  const shared = run.samePlace && route.to.some(({ result }) => result === keys.result);
  if (!run.options.keepResults && !shared) await moveHash(route, 'result', moved('results'), signal);
  check(signal);
  await moveExpiry(route);
}

function check(signal: AbortSignal | undefined): void {
  if (signal?.aborted) throw new MoveInterrupted('the move was interrupted');
}

/** Waits for workers of the old place, and moves what they leave. Throws `StillInFlight`. */
async function settleDown(run: Run, signal: AbortSignal | undefined): Promise<void> {
  const { waitMs, onWaiting } = run.options;
  const began = performance.now();
  for (;;) {
    const held = await inFlight(run);
    if (held === 0) break;
    if (waitMs !== undefined && performance.now() - began >= waitMs) throw new StillInFlight(held);
    onWaiting?.(held);
    check(signal);
    await sleep(POLL_MS, signal);
    await each(run, async (route) => (await moveTasks(run, route, signal)).settle());
  }
  await moveAll(run, signal);
}

/** Tasks that workers of the old place hold; those of workers that are lost go back first. */
async function inFlight({ routes }: Run): Promise<number> {
  let sum = 0;
  for (const { source, claim: claimed } of routes) {
    const holdings = await survey(source, claimed.keys);
    if (holdings.inFlight > 0) await source.ask(reapExpired(source.at(claimed.keys.queue), claimed.keys));
    sum += holdings.inFlight;
  }
  return sum;
}

/** Moves what clients push to the old place, until nothing has come for `quietMs`. */
async function follow(run: Run, quietMs: number, signal: AbortSignal | undefined): Promise<void> {
  let last = performance.now();
  const noting: Run = {
    ...run,
    moved: (what, count) => {
      if (count > 0) last = performance.now();
      run.moved(what, count);
    },
  };
  while (!signal?.aborted && performance.now() - last < quietMs) {
    await moveAll(noting, undefined);
    if ((await inFlight(run)) > 0) last = performance.now();
    await sleep(Math.min(POLL_MS, quietMs), signal);
  }
}

/** Counters, cron tasks and records, once nothing else is left. */
async function finish(run: Run): Promise<void> {
  const [first] = run.routes;
  for (const records of run.records)
    if (first && !(run.samePlace && records.from.queue === records.to.queue))
      await moveRecords(first, records);
  for (const route of run.routes) {
    const { source, destination, claim: claimed, to } = route;
    await moveKind(route, 'stats', () => undefined, undefined);
    await moveCrons(route);
    await endPause(route);
    await endMove(source, destination, claimed, to);
  }
}

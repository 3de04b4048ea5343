/**
 * What a scale-in needs of the workers of another library (scale-in.ts): here a worker acknowledges by having been seen idle for
 * longer than its library takes to show that it is not. Where the library takes orders, it is told to take nothing more first;
 * where it does not, an idle worker may still take a task between the last read and its end, and has the grace period for it.
 */
import type { Redis } from 'ioredis';
import type { Unmanaged } from '../../kube/workerpool.ts';
import { within } from '../../queue/connection/connection.ts';
import { isReply } from '../../queue/connection/reply-code.ts';
import { WrongKeyType } from '../../queue/pool/sample.ts';
import { UnexpectedReply } from '../../queue/scripts/decode-reply.ts';
import { createAsk } from '../../queue/sources/ask.ts';
import { readSource } from '../../queue/sources/read.ts';
import { SourceTrouble, type Holding, type Source, type SourceWorkers } from '../../queue/sources/source.ts';
import type { WorkerLoad, WorkerLoads } from '../../queue/workers/worker-load.ts';
import { formatDuration } from '../../runtime/duration.ts';
import { plural } from '../../runtime/plural.ts';
import { occupancyOf, idleAfter, inOneOf, type Occupancy, type IdleSince } from './source-occupancy.ts';
import type { Drains, ScaleInHold } from './scale-in.ts';
import type { Member } from './target.ts';

/** The state of a source's workers from one step to the next. */
export interface SourceState {
  idle: IdleSince;
}

export interface SourceDrainsInput {
  readonly redis: Redis;
  readonly source: Source;
  /** Since when every read of the sampler has found nothing to do, by performance.now(); `undefined` while there is something. */
  readonly idleSince: number | undefined;
  /** Whether Redis reports each change of a key, so that no task comes and goes unseen. */
  readonly tracked: boolean;
  readonly unmanaged: Unmanaged;
  readonly state: SourceState;
}

const ANSWER_TIMEOUT_MS = 3_000;
/** The server's own text is not for the status: whoever has chosen the server reads that. */
const ORDERS_REFUSED =
  'workers cannot be told to take nothing more, because Redis refuses a command to this user: see "The Redis user" in docs/sources.md';
const UNEXPECTED =
  'who holds tasks cannot be read, because a value is not what the library writes: millrace doctor names the key';
const REFUSED =
  'who holds tasks cannot be read, because Redis refuses a command to this user: see "The Redis user" in docs/sources.md';

export function sourceDrains(input: SourceDrainsInput): Drains {
  const { redis, source, unmanaged } = input;
  const { holding } = source;
  let members: readonly Member[] = [];
  let held: ScaleInHold | undefined;

  async function judge(): Promise<WorkerLoads> {
    const verdict =
      unmanaged !== 'WhenIdle'
        ? { loads: loadsOf(members, unmanaged === 'Always'), why: never(unmanaged) }
        : await within(ANSWER_TIMEOUT_MS, judgeBy(input, members), 'the workers of the source').catch(
            refused,
          );
    held = verdict.why === undefined ? undefined : { reason: 'HoldersUnknown', message: verdict.why };
    return verdict.loads ?? loadsOf(members, false);
  }

  return {
    terms: { done: 'idle', pending: 'not seen idle' },
    read: (_, all) => {
      members = all;
      return judge();
    },
    set: async (verdicts) => {
      if (holding.by !== 'worker' || !holding.orders) return judge();
      const failed = await order(redis, holding, members, verdicts).catch((error: unknown) => error);
      const loads = await judge();
      // without the order, no worker confirms one, and none goes; what cannot be read, the judgement says as well
      if (isReply(failed)) held = { reason: 'HoldersUnknown', message: ORDERS_REFUSED };
      else if (failed !== undefined && held === undefined) throw failed as Error;
      return loads;
    },
    endWaits: async () => {},
    held: () => held,
  };
}

interface Judged {
  /** `undefined` if unknown for all members. */
  readonly loads: WorkerLoads | undefined;
  /** Why members are held that have no visible work. */
  readonly why: string | undefined;
}

/** A refusal by the server, or a key that is not the library's, is permanent: no member may go, and the reason is shown. Any other error is thrown again. */
function refused(error: unknown): Judged {
  if (isReply(error)) return { loads: undefined, why: REFUSED };
  if (error instanceof WrongKeyType || error instanceof SourceTrouble)
    return { loads: undefined, why: `who holds tasks cannot be read: ${error.message}` };
  // nor is what a server has sent
  if (error instanceof UnexpectedReply) return { loads: undefined, why: UNEXPECTED };
  throw error;
}

async function judgeBy(input: SourceDrainsInput, members: readonly Member[]): Promise<Judged> {
  const { redis, source, idleSince, state } = input;
  const { holding } = source;
  if (holding.by === 'worker') {
    const found = await holding.readWorkers(createAsk(redis), redis, inOneOf(members));
    const occupancy = occupancyOf(members, found);
    // one that still takes tasks may have one that it does not show yet: from the drain on, it counts
    const taking = holding.orders ? stillTaking(occupancy) : new Set<string>();
    const seen = new Map([...occupancy].filter(([id]) => !taking.has(id)));
    state.idle = idleAfter(seen, state.idle, performance.now());
    return {
      loads: loadsByWorker(occupancy, holding, state.idle),
      why: unseen(members, found, occupancy) ?? concernOf(found),
    };
  }
  const needed = holding.by === 'count' ? holding.lagMs : (holding.longestMs ?? Infinity);
  const { sample } = await readSource(redis, source, 0);
  const none = sample.waiting + sample.inFlight + sample.due === 0;
  const idleMs = none && idleSince !== undefined ? performance.now() - idleSince : 0;
  const gone = none && (needed === 0 || (idleSince !== undefined && idleMs >= needed));
  return { loads: loadsOf(members, gone), why: gone ? undefined : waitingFor(input, sample.inFlight) };
}

function loadsOf(members: readonly Member[], gone: boolean): WorkerLoads {
  return new Map(members.map(({ id }) => [id, loadOf(gone, 0)]));
}

function loadsByWorker(
  occupancy: ReadonlyMap<string, Occupancy>,
  { lagMs }: Holding & { readonly by: 'worker' },
  idle: IdleSince,
): WorkerLoads {
  return new Map(
    [...occupancy].map(([id, { tasks }]) => {
      const seen = idle.get(id);
      return [id, loadOf(seen !== undefined && seen.at - seen.since >= lagMs, tasks)];
    }),
  );
}

function stillTaking(occupancy: ReadonlyMap<string, Occupancy>): ReadonlySet<string> {
  return new Set(
    [...occupancy].flatMap(([id, { workers }]) => (workers.every(({ quiet }) => quiet) ? [] : [id])),
  );
}

function loadOf(gone: boolean, inFlight: number): WorkerLoad {
  return { state: gone ? 'drained' : 'busy', inFlight: gone ? 0 : inFlight, blockers: [], pool: '' };
}

async function order(
  redis: Redis,
  { readWorkers, orders }: Holding & { readonly by: 'worker' },
  members: readonly Member[],
  verdicts: ReadonlyMap<string, string>,
): Promise<void> {
  const occupancy = occupancyOf(members, await readWorkers(createAsk(redis), redis, inOneOf(members)));
  const those = (verdict: string, quiet: boolean): Occupancy['workers'] =>
    [...occupancy].flatMap(([id, { workers }]) =>
      verdicts.get(id) === verdict ? workers.filter((worker) => (worker.quiet ?? false) === quiet) : [],
    );
  const [leaving, staying] = [those('leave', false), those('stay', true)];
  if (leaving.length > 0) await orders?.drain(redis, leaving);
  if (staying.length > 0) await orders?.resume(redis, staying);
}

/** Cancels the drains of the workers in these pods. Workers in other pods may belong to another pool. */
export async function resumeIn(redis: Redis, { holding }: Source, members: readonly Member[]): Promise<void> {
  if (holding.by !== 'worker' || !holding.orders || members.length === 0) return;
  const occupancy = occupancyOf(
    members,
    await holding.readWorkers(createAsk(redis), redis, inOneOf(members)),
  );
  const staying = [...occupancy.values()].flatMap(({ workers }) => workers.filter(({ quiet }) => quiet));
  if (staying.length > 0) await holding.orders.resume(redis, staying);
}

function never(unmanaged: Unmanaged): string | undefined {
  return unmanaged === 'Never' ? 'scaling.scaleDown.unmanaged is Never' : undefined;
}

function waitingFor({ source: { holding }, tracked }: SourceDrainsInput, inHand: number): string | undefined {
  if (holding.by === 'worker') return undefined;
  if (holding.by === 'count')
    return `${plural(inHand, 'task is', 'tasks are')} in hand, and nothing shows in which pods: held until there are none`;
  if (holding.longestMs === undefined)
    return `which pods hold a task is not known, because ${holding.why}: set longestTask of the source, or scaling.scaleDown.unmanaged: Always`;
  const until = `held until nothing was there to take for ${formatDuration(holding.longestMs)} (longestTask)`;
  return tracked
    ? `${holding.why}: ${until}`
    : `${holding.why}: ${until}, which cannot be seen while Redis does not let the controller track keys`;
}

function concernOf({ concerns = [] }: SourceWorkers): string | undefined {
  const found = concerns.find(({ holds }) => holds);
  return found && `${found.note}: ${found.todo}`;
}

/** Tasks without a known worker, or members that are ready without one of the library in them, human-readable. */
function unseen(
  members: readonly Member[],
  { unnamed }: SourceWorkers,
  occupancy: ReadonlyMap<string, Occupancy>,
): string | undefined {
  if (unnamed > 0)
    return `${unnamed === 1 ? 'a running task names' : `${unnamed} running tasks name`} no worker that is known: held, because any of them may hold it`;
  const found = members.filter(({ id, ready }) => {
    const one = occupancy.get(id);
    return ready && one?.workers.length === 0 && !one.idle;
  });
  const [first] = found;
  if (!first) return undefined;
  const who = `${found.length === 1 ? `${first.id} is` : `${first.id} and ${found.length - 1} more are`} ready`;
  return `${who}, and no worker that the library shows runs there: held, because it may hold a task that nothing shows`;
}

/**
 * `queue/workers/`: a worker as Redis has it: turns, registration, connections, drains, death. Takes the keys of a queue and
 * ids of workers and returns what they hold or what became of them. It knows nothing of handlers or pods.
 *
 * The worker's turn (turn.lua) as a typed function: the request is one packed argument, the reply carries the tasks.
 */
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../keys.ts';
import { noPast, parsePast, type Past } from './past.ts';
import { listed, pack } from './pack.ts';
import { packedGroup, type PartGroup } from './packed-parts.ts';
import { PackedResults, shortened } from './packed-results.ts';
import { PackedTasks } from './packed-tasks.ts';
import { scriptOfWorker } from './worker-scripts.ts';

/** What a request takes beside its results, in most cases. */
const REQUEST_BYTES = 1_024;

export interface Settled {
  readonly results: readonly {
    readonly receipt: string;
    readonly id: string | Buffer;
    readonly value: string | Buffer;
    /** The key that it had. */
    readonly unique?: string;
  }[];
  readonly retries: readonly { readonly receipt: string; readonly delayMs: number; readonly past: Past }[];
  /** Without an `id`, waiting clients are not notified. */
  readonly dead: readonly {
    readonly receipt: string;
    readonly id?: string | Buffer;
    readonly header: string;
    /** It was not run. */
    readonly expired?: true;
    /** The key that it had. */
    readonly unique?: string;
    /** The id that has it, without an `id`. */
    readonly uniqueId?: string | Buffer;
  }[];
  readonly released: readonly string[];
  /** Not run, or aborted, because they were cancelled. One whose mark is gone goes back to the queue. */
  readonly cancelled: readonly {
    readonly receipt: string;
    readonly id: string | Buffer;
    readonly header: string;
    /** The batch that it is a part of: that may be cancelled as a whole, without a mark of the task. */
    readonly batch?: string;
    /** The key that it had. */
    readonly unique?: string;
    /** Not cancelled, but another task has its key; without a header, one of the same id. */
    readonly duplicate?: true;
  }[];
  /** Receipts of those that were taken and not begun. */
  readonly unbegun?: readonly string[];
  /** Of which batches some of these are parts. */
  readonly parts?: readonly PartGroup[];
  /** Tasks that are added with a result. */
  readonly spawned?: readonly SpawnedTasks[];
  /** The results once more, if they were packed as they came. */
  readonly packed?: PackedResults;
  /** Total service time of the settled tasks, µs. */
  readonly serviceUs: number;
  /** Sum of the squares of those service times, ms². */
  readonly squaresMs2?: number;
  /** The bucket of each slow task among them (pool/slow-tasks.ts). */
  readonly slow?: readonly number[];
}

export interface SpawnedTasks {
  /** Position of the result that they are added with. */
  readonly result: number;
  readonly tasks: readonly { readonly id: string | Buffer; readonly raw: string | Buffer }[];
}

export interface TurnRequest {
  readonly worker: string;
  readonly epoch: number;
  /** One more than in the last turn that was answered; the same when this one repeats it. */
  readonly turn: number;
  /** The highest receipt counter seen so far. */
  readonly seen: number;
  /** `madeAt` of the last reply, 0 before the first. Without it, a server that lost writes is detected by counts alone. */
  readonly heard?: number;
  /** Tasks taken and not settled by an answered turn. Without it, each receipt is looked up. */
  readonly holds?: number;
  readonly settled: Settled;
  /** The results are in a hash on another server already: see store-results.ts. */
  readonly stored?: boolean;
  /** Name of the result hash for people, if it is on another server. */
  readonly resultName?: string | undefined;
  /** A different number if `settled` differs from what was sent under the same `turn` before; 0 by default. */
  readonly form?: number;
  /** Number of tasks that may be taken. */
  readonly want: number;
  /** Tasks of its other queues that the worker holds; 0 by default. It is given no suspect beside them. */
  readonly elsewhere?: number;
  /** Number of suspects that it may take together (suspects.lua); 1 by default, 0 for none. */
  readonly together?: number;
  /** Estimated time until it holds nothing, ms; 0 by default. */
  readonly emptyInMs?: number;
  /** The reply has an empty text for each task that was taken: where the tasks are read otherwise. */
  readonly unseen?: boolean;
  /** The reply may have tasks as `packed`. */
  readonly mayPack?: boolean;
  readonly leaseMs: number;
  readonly state: string;
}

export interface Delivery {
  readonly receipt: string;
  readonly raw: Buffer;
  readonly past: Past;
  /** The task as text, where that is known already: it is ASCII, and a part of the text of others. */
  readonly text?: string;
}

/** Of a task that came as text: its bytes are made when they are needed. */
class TextDelivery implements Delivery {
  readonly receipt: string;
  readonly text: string;
  readonly past: Past;
  #raw: Buffer | undefined;

  constructor(receipt: string, text: string, past: Past) {
    this.receipt = receipt;
    this.text = text;
    this.past = past;
  }

  get raw(): Buffer {
    return (this.#raw ??= Buffer.from(this.text, 'latin1'));
  }
}

/** The size of a task, bytes. */
export function sizeOf(task: { readonly raw: Buffer; readonly text?: string | undefined }): number {
  return task.text?.length ?? task.raw.length;
}

export type TurnReply =
  | { readonly kind: 'fenced' }
  | {
      readonly kind: 'held';
      /** Redis time, ms. */
      readonly now: number;
      /** Length of the queue after the turn; an error message if the queue could not be read. */
      readonly length: number | string;
      readonly drain: boolean;
      /** The queue is paused: no tasks are given out. */
      readonly paused: boolean;
      readonly seen: number;
      readonly tasks: readonly Delivery[];
      /** Instead of these, where that was allowed: they are many, and none of them has a past. */
      readonly packed?: PackedTasks<Delivery>;
      /** Time until the next delayed task falls due, or this worker may try again what limits hold back, ms. */
      readonly dueInMs: number | undefined;
      /** 0 when no task is marked as cancelled, else a number that changes with every mark. */
      readonly marks: number;
      /** This worker gets no more tasks until it holds none: for the sake of a suspect, its own or one that waits. */
      readonly apart: boolean;
      /** When the turn was made, ms of Redis time: earlier than `now` if this is the reply to its repetition. */
      readonly madeAt: number;
      /** Suspects that wait for a worker that holds nothing. */
      readonly aside: number;
      /** Of all requests sent under this number, the form of the one that was executed. */
      readonly form: number;
      /** The queue has limits; `closed`: tasks wait there that may not begin for those of the queue. */
      readonly limits?: 'open' | 'closed';
      /** Tasks that were held for their key may begin now, which the length does not show. */
      readonly heldReady?: true;
      /** Another partition is to be told of a batch: see workers/batch-reports.ts. */
      readonly reports?: true;
    };

/** Makes a turn. Rejects with Redis' error if it is refused as a whole: `STALE`, `WRONGTYPE`, `OOM`. */
export async function turn(redis: Redis, keys: QueueKeys, request: TurnRequest): Promise<TurnReply> {
  const { worker, epoch, mayPack = false } = request;
  const reply = (await turnOf(keys, worker)(redis, turnArguments(request))) as Reply;
  return decodeReply(epoch, reply, mayPack);
}

const turnOf = scriptOfWorker('turn', (keys, worker) => [
  keys.queue,
  keys.result,
  keys.workers,
  keys.worker(worker),
  keys.inflight(worker),
  keys.carried(worker),
  keys.wake(worker),
  keys.delayed,
  keys.dead,
  keys.errors,
  keys.stats,
  keys.history,
  keys.load,
  keys.paused,
  keys.cancelled,
  keys.expiry,
  keys.suspects,
  keys.isolator,
  keys.pasts,
  keys.emptying,
  keys.apart,
  keys.clock,
  keys.limits,
]);

/** The tasks of a turn, packed or not. */
export type Brought = Pick<Extract<TurnReply, { kind: 'held' }>, 'tasks' | 'packed'>;

/** The reply of turn.lua, in the order of its head. */
type Reply =
  | readonly [fenced: 0]
  | readonly [
      held: 1,
      now: number,
      length: number | Buffer,
      orders: number,
      first: number,
      raws: readonly Buffer[] | Buffer,
      pasts: readonly unknown[],
      dueIn: number,
      marks: number,
      apart: number,
      madeAt: number,
      aside: number,
      form: number,
      limited?: number,
      reports?: number,
    ];

/** What the receipts of an epoch begin with: see turn.lua. */
export function receiptPrefix(epoch: number): string {
  return `${String(epoch).slice(-5)}-`;
}

/** `epoch` is part of the receipts. */
function decodeReply(epoch: number, reply: Reply, mayPack: boolean): TurnReply {
  if (reply[0] === 0) return { kind: 'fenced' };
  const [, now, length, orders, first, taken, pastList, dueIn, marks, apart, madeAt, aside, form, ...seldom] =
    reply;
  const [limited = 0, reports = 0] = seldom;
  const prefix = receiptPrefix(epoch);
  const pasts = new Map<number, Past>();
  for (let i = 0; i + 1 < pastList.length; i += 2)
    pasts.set(Number(pastList[i]), parsePast(String(pastList[i + 1])));
  const deliver = (task: Buffer | string, at: number): Delivery => {
    const receipt = `${prefix}${first + at}`;
    const past = (pasts.size > 0 && pasts.get(at + 1)) || noPast;
    return typeof task === 'string' ? new TextDelivery(receipt, task, past) : { receipt, raw: task, past };
  };
  const { packed, tasks } = brought(taken, deliver, mayPack && pasts.size === 0);
  return {
    kind: 'held',
    now,
    length: typeof length === 'number' ? length : length.toString(),
    drain: orders === 1,
    paused: orders === 2,
    seen: first + (packed ?? tasks).length - 1,
    tasks,
    ...(packed && { packed }),
    dueInMs: dueIn < 0 ? undefined : dueIn,
    marks,
    apart: apart === 1,
    madeAt,
    aside,
    form,
    ...(limited > 0 && { limits: limited === 2 ? 'closed' : 'open' }),
    ...(reports > 0 && { reports: true }),
    ...(limited === 3 && { heldReady: true }),
  };
}

function brought(
  taken: readonly Buffer[] | Buffer,
  deliver: (task: Buffer | string, at: number) => Delivery,
  mayPack: boolean,
): Brought {
  if (!Buffer.isBuffer(taken)) return { tasks: taken.map(deliver) };
  const packed = new PackedTasks(taken, deliver);
  return mayPack ? { packed, tasks: [] } : { tasks: packed.deliveries };
}

/** The arguments of turn.lua. */
function turnArguments({
  worker,
  epoch,
  turn: number,
  form = 0,
  seen,
  heard,
  holds,
  want,
  elsewhere = 0,
  together = 1,
  emptyInMs = 0,
  unseen = false,
  leaseMs,
  state,
  settled,
  stored = false,
  resultName,
}: TurnRequest): (string | Buffer)[] {
  const packed = packedResults(settled, stored);
  const { receipts, results } = packed;
  // a request may be sent again
  const long = [...packed.long];
  const bytes = (value: string | Buffer): string | Buffer | number => shortened(value, long);
  const keys = packed.unique.map(({ receipt, id, key }) => ({ receipt, id: bytes(id), key }));
  // packing leaves out what is undefined, so what a turn has none of costs neither side anything
  const request = {
    worker,
    epoch: String(epoch),
    number,
    form: form === 0 ? undefined : form,
    seen,
    heard,
    holds,
    want,
    elsewhere: elsewhere === 0 ? undefined : elsewhere,
    together: together === 1 ? undefined : together,
    emptyIn: emptyInMs === 0 ? undefined : Math.round(emptyInMs),
    unseen: unseen ? 1 : undefined,
    leaseMs,
    state,
    serviceUs: Math.round(settled.serviceUs),
    squaresMs2:
      settled.squaresMs2 === undefined
        ? undefined
        : Math.min(Math.round(settled.squaresMs2), Number.MAX_SAFE_INTEGER),
    slow: listed(settled.slow ?? []),
    receipts,
    results,
    stored: stored ? 1 : undefined,
    unique: listed(keys),
    retries: listed(
      settled.retries.map(({ receipt, delayMs, past }) => ({
        receipt,
        delayMs: Math.round(delayMs),
        past: `${past.attempts}:${past.deliveries}`,
      })),
    ),
    dead: listed(
      settled.dead.map(({ receipt, id, header, expired, unique, uniqueId }) => ({
        receipt,
        ...(id !== undefined && { id: bytes(id) }),
        header: bytes(header),
        expired: expired ? 1 : undefined,
        unique,
        uniqueId: uniqueId === undefined ? undefined : bytes(uniqueId),
      })),
    ),
    released: listed(settled.released),
    unbegun: listed(settled.unbegun ?? []),
    cancelled: listed(
      settled.cancelled.map(({ receipt, id, header, batch, unique, duplicate }) => ({
        receipt,
        id: bytes(id),
        header: bytes(header),
        batch,
        unique,
        duplicate: duplicate ? 1 : undefined,
      })),
    ),
    parts: settled.parts?.map((group) => packedGroup(group, settled.results)),
    spawned: settled.spawned?.map(({ result, tasks }) => ({
      result: result + 1,
      ids: tasks.map(({ id }) => bytes(id)),
      raws: tasks.map(({ raw }) => bytes(raw)),
    })),
    resultName: settled.parts ? resultName : undefined,
  };
  return [pack(request, REQUEST_BYTES + packed.bytes), ...long];
}

function packedResults({ packed, results }: Settled, stored: boolean): PackedResults {
  if (packed?.stored === stored) return packed;
  const now = new PackedResults(stored, results.length);
  now.add(results);
  return now;
}

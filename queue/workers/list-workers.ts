/** The workers registered with a queue, and their own reports (list-workers.lua). */
import type { Redis } from 'ioredis';
import type { QueueKeys } from '../keys.ts';
import { asList, asMoment, asText } from '../scripts/decode-reply.ts';
import { script } from '../scripts/scripts.ts';

export interface WorkerEntry {
  readonly id: string;
  /** When its lease ends, ms of Redis time. */
  readonly leaseEnds: number;
  readonly epoch: number;
  /** Empty if the worker is gone. */
  readonly state: string;
  /** Tasks that it may run at a time now. */
  readonly concurrency: number;
  readonly version: string;
  /** ms of Redis time. */
  readonly started: number;
  /** `namespace/name`; empty if it belongs to none. */
  readonly pool: string;
  /** Of that pool, which another cluster may have under the same name; empty if the worker does not report it. */
  readonly poolUid: string;
  readonly inFlight: number;
  /** The number of slots that it has found to be best, where it finds that itself, and why. */
  readonly slots?: number | undefined;
  readonly slotsWhy?: string | undefined;
}

const MOST = 1_000;
const LONGEST = 512;
const MOST_PAGES = 1_000;

/** The workers of a queue by the ends of their leases, at most 1,000. Throws `UnexpectedReply`. */
export function listWorkers(redis: Redis, keys: QueueKeys): Promise<WorkerEntry[]> {
  return listPage(redis, keys, 0);
}

/**
 * All of them, in pieces. Where there are more than 1,000, one whose lease is renewed meanwhile may be missing or be there twice.
 * Throws `UnexpectedReply`.
 */
export async function listAllWorkers(redis: Redis, keys: QueueKeys): Promise<WorkerEntry[]> {
  const found: WorkerEntry[] = [];
  for (let page = 0; page < MOST_PAGES; page++) {
    const some = await listPage(redis, keys, page * MOST);
    found.push(...some);
    if (some.length < MOST) break;
  }
  return found;
}

async function listPage(redis: Redis, keys: QueueKeys, from: number): Promise<WorkerEntry[]> {
  const call = script(redis, 'list-workers');
  const found = await call(keys.workers, keys.load, keys.worker(''), MOST, LONGEST, from);
  return asList(found, 'the workers').map((one): WorkerEntry => {
    const parts = asList(one, 'a worker', 12).map((part) => asText(part, 'a field of a worker', LONGEST));
    const [id = '', lease = '', epoch, state = '', concurrency, version = '', started] = parts;
    const [pool = '', poolUid = '', best = '', slotsWhy = '', inFlight] = parts.slice(7);
    const leaseEnds = asMoment(Buffer.from(lease), 'the end of a lease') ?? 0;
    const [runs, slots, begun] = [toCount(inFlight), toCount(concurrency), toCount(started)];
    return {
      id,
      leaseEnds,
      epoch: toCount(epoch),
      state,
      concurrency: slots,
      version,
      started: begun,
      pool,
      poolUid,
      inFlight: runs,
      slots: best === '' ? undefined : toCount(best),
      slotsWhy: best === '' ? undefined : slotsWhy,
    };
  });
}

/** A count as anyone may have written it: 0 for anything else. */
function toCount(text: string | undefined): number {
  const number = Number(text);
  return Number.isSafeInteger(number) && number >= 0 ? number : 0;
}

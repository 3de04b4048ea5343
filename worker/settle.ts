/**
 * Collects what finished until the next turn takes it along. A batch that was taken but not answered yet is kept by
 * the turn itself, which repeats it; nothing is ever in two batches.
 */
import { deadHeader } from '../queue/dead.ts';
import { slowBucket } from '../queue/slow.ts';
import type { Delivery, Settled } from '../queue/turn.ts';
import type { Finished } from './run.ts';

export interface Batch {
  readonly size: number;
  /** When the oldest entry came, by performance.now(); `undefined` when empty. */
  readonly since: number | undefined;
  add(finished: Finished, now: number): void;
  /** Of a task that was never begun. */
  cancel(delivery: Delivery, id: string | Buffer, now: number): void;
  release(receipts: readonly string[], now: number): void;
  /** Hands over everything and is empty afterwards. */
  take(): Settled;
}

type Lists = {
  -readonly [K in 'results' | 'retries' | 'dead' | 'released' | 'cancelled']: Settled[K][number][];
};

export function createBatch(worker: string): Batch {
  let lists = empty();
  let serviceMs = 0;
  let slow: number[] = [];
  let size = 0;
  let since: number | undefined;
  const cancelled = ({ receipt, past }: Delivery, id: string | Buffer): void => {
    const about = { error: 'cancelled', attempts: past.attempts, worker, cancelled: true } as const;
    lists.cancelled.push({ receipt, id, header: deadHeader(about) });
  };
  const added = (count: number, now: number): void => {
    size += count;
    since ??= now;
  };
  return {
    get size() {
      return size;
    },
    get since() {
      return since;
    },
    add: (finished, now) => {
      const { delivery, id, attempt, outcome } = finished;
      const { receipt, past } = delivery;
      added(1, now);
      if (outcome.kind === 'release') {
        lists.released.push(receipt);
        return;
      }
      if (outcome.kind === 'cancelled') {
        cancelled(delivery, id);
        return;
      }
      serviceMs += finished.serviceMs;
      const bucket = slowBucket(finished.serviceMs);
      if (bucket > 0) slow.push(bucket);
      switch (outcome.kind) {
        case 'result':
          lists.results.push({ receipt, id, value: outcome.value });
          break;
        case 'retry': {
          const next = { attempts: attempt, deliveries: past.deliveries };
          lists.retries.push({ receipt, delayMs: outcome.delayMs, past: next });
          break;
        }
        case 'dead': {
          const whole = Buffer.isBuffer(id) || delivery.raw.equals(Buffer.from(id));
          const lost = outcome.poison ? { deliveries: past.deliveries } : {};
          const about = { error: outcome.error, attempts: attempt, worker, ...lost };
          lists.dead.push({ receipt, id, header: deadHeader(whole ? about : { ...about, id }) });
        }
      }
    },
    cancel: (delivery, id, now) => {
      cancelled(delivery, id);
      added(1, now);
    },
    release: (receipts, now) => {
      if (receipts.length === 0) return;
      lists.released.push(...receipts);
      added(receipts.length, now);
    },
    take: () => {
      const taken: Settled = { ...lists, serviceUs: serviceMs * 1_000, ...(slow.length > 0 && { slow }) };
      lists = empty();
      serviceMs = 0;
      slow = [];
      size = 0;
      since = undefined;
      return taken;
    },
  };
}

function empty(): Lists {
  return { results: [], retries: [], dead: [], released: [], cancelled: [] };
}

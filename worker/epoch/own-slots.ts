/**
 * The slots of a worker that finds their number itself: what it reports in its records in Redis, what it leaves to later workers, and where
 * it begins. A Redis that does not answer is not waited for: the number in force does not depend on it.
 */
import type { Redis } from 'ioredis';
import { within } from '../../queue/connection/connection.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { readLearnedSlots, writeBestSlots, writeTrialSlots } from '../../queue/workers/learned-slots.ts';
import { note } from '../../queue/workers/register.ts';
import { LogEvent } from '../../runtime/log-event.ts';
import { createAutoConcurrency, type SlotsReport } from './auto/auto.ts';
import type { WorkerOptions } from './options.ts';
import type { SlotMeter } from './slots/slots.ts';
import { memoryShare } from '../process/memory-share.ts';

/** Redis may be away when the worker leaves, ms. */
const LEAVE_MS = 1_000;

export interface OwnSlots {
  readonly meter: SlotMeter;
  /** Fields of the worker's records. */
  readonly fields: Readonly<Record<string, string | number>>;
  /** The worker has registered with a queue. */
  registered(place: Place): void;
  /** It leaves: nothing is tried any more. Never rejects. */
  left(): Promise<void>;
}

/** A record of the worker. */
export interface Place {
  readonly redis: Redis;
  readonly keys: QueueKeys;
  readonly epoch: number;
}

/** `undefined` where the number is fixed. `queue`: the first one of the worker, beside which it is kept what was learned. */
export function createOwnSlots(
  { concurrency, id, pool, log }: WorkerOptions,
  queue: string,
  resize: (slots: number) => void,
): OwnSlots | undefined {
  if (typeof concurrency === 'number') return undefined;
  const places = new Map<string, Place>();
  let recalled = false;
  /** As Redis has them. */
  const kept: { best: number | undefined; trial: number | undefined } = { best: undefined, trial: undefined };
  const auto = createAutoConcurrency({
    bounds: concurrency,
    now: () => performance.now(),
    memory: memoryShare,
    onSlots: resize,
    onState: keepTrial,
    onReport: (report) => {
      for (const place of places.values()) noteReport(place, report);
      keepBest(report);
      log.info({ event: LogEvent.SlotsFound, ...report }, 'the number of slots');
    },
  });

  function quietly(work: Promise<unknown>): void {
    work.catch((err: unknown) => log.debug({ err }, 'failed to record the number of slots'));
  }

  function noteReport({ redis, keys, epoch }: Place, report: SlotsReport): void {
    quietly(note(redis, keys, id, epoch, { ...report }));
  }

  function keepTrial({ concurrency: most, slots }: SlotsReport): void {
    const trial = most > slots ? most : undefined;
    const home = places.get(queue);
    if (!home || trial === kept.trial) return;
    kept.trial = trial;
    quietly(writeTrialSlots(home.redis, home.keys, id, trial));
  }

  function keepBest({ slots }: SlotsReport): void {
    const home = places.get(queue);
    if (!home || !recalled || slots === kept.best) return;
    kept.best = slots;
    quietly(writeBestSlots(home.redis, home.keys, pool, slots));
  }

  async function recall({ redis, keys }: Place): Promise<void> {
    const learned = await readLearnedSlots(redis, keys, pool, id);
    kept.best = learned.slots;
    kept.trial = learned.diedAt;
    recalled = true;
    auto.recall(learned);
    keepTrial(auto.report);
  }

  return {
    meter: auto,
    get fields() {
      return { ...auto.report };
    },
    registered: (place) => {
      places.set(place.keys.queue, place);
      if (place.keys.queue === queue && !recalled) quietly(recall(place));
    },
    left: async () => {
      auto[Symbol.dispose]();
      const home = places.get(queue);
      if (home && kept.trial !== undefined)
        await within(LEAVE_MS, writeTrialSlots(home.redis, home.keys, id, undefined), 'HDEL').catch(
          () => undefined,
        );
    },
  };
}

/**
 * Events (`events.k8s.io/v1`), which `kubectl describe` and `kubectl events` show. Recording one is safe for the caller: it
 * returns immediately, never throws, and an event that cannot be written is dropped.
 *
 * The same event of the same object within `windowMs` continues one event as a series. Its count is written at most every
 * `seriesPeriodMs`, since a reconciler may repeat itself every second; what is counted in between goes with the next write, or with
 * `flush`. Events are written one at a time, so an event exists before its series does. Memory is bounded: the least recent series
 * is forgotten first, and at most `maxWaiting` writes wait while the API server does not answer.
 */
import type { Clock } from '../runtime/clock.ts';
import { systemClock } from '../runtime/clock.ts';
import type { KubeApi } from './api.ts';
import { KubeError } from './errors.ts';
import type { KubeEvent, KubeObject } from './wire.ts';
import { microTime } from './wire.ts';

export interface Occurrence {
  readonly type: 'Normal' | 'Warning';
  /** CamelCase, in past tense: `ScaledUp`. */
  readonly reason: string;
  /** What the controller did or tried, CamelCase: `Scale`. */
  readonly action: string;
  /** A sentence, cut at 1 KiB. */
  readonly note: string;
}

export interface EventRecorder {
  readonly record: (regarding: KubeObject, occurrence: Occurrence) => void;
  /** Writes counts that are not written yet; resolves when nothing is waiting. */
  readonly flush: () => Promise<void>;
}

export interface EventRecorderOptions {
  readonly api: Pick<KubeApi, 'events'>;
  /** Of the form `millrace.dev/controller`. */
  readonly controller: string;
  /** The pod's name. */
  readonly instance: string;
  /** Called for each event that could not be written. */
  readonly onError?: (error: unknown) => void;
  /** ms since an occurrence within which the same one continues its series. */
  readonly windowMs?: number;
  /** ms between two writes of one series. */
  readonly seriesPeriodMs?: number;
  /** Maximum number of series that are remembered. */
  readonly maxSeries?: number;
  /** New events per object in a burst, and the time after which one more is allowed, ms; others are dropped. */
  readonly burst?: number;
  readonly refillMs?: number;
  /** Maximum number of waiting writes. */
  readonly maxWaiting?: number;
  readonly clock?: Clock;
}

interface Series {
  event: KubeEvent & { metadata: { namespace: string } };
  count: number;
  /** By the monotonic clock, and in ms since the epoch. */
  last: number;
  lastAt: number;
  /** When, and with which count, it was last written or put in line for that. */
  written: number;
  writtenCount: number;
}

/** The API server's own limit for a note, bytes. */
const MAX_NOTE_BYTES = 1024;

export function createEventRecorder(options: EventRecorderOptions): EventRecorder {
  const { api, controller, instance, onError, clock = systemClock } = options;
  const { windowMs = 10 * 60_000, seriesPeriodMs = 30_000, maxSeries = 512, maxWaiting = 128 } = options;
  const { burst = 25, refillMs = 30_000 } = options;
  const mayWrite = createBursts({ burst, refillMs, most: maxSeries });
  const writes = createWrites(maxWaiting, onError);
  /** Most recent last. */
  const known = new Map<string, Series>();

  function record(regarding: KubeObject, occurrence: Occurrence): void {
    const now = clock.elapsed();
    const at = clock.now();
    const note = cut(occurrence.note, MAX_NOTE_BYTES);
    const key = JSON.stringify([regarding.metadata.uid, occurrence.type, occurrence.reason, note]);
    const series = known.get(key);
    known.delete(key);
    if (series !== undefined && now - series.last <= windowMs) {
      series.count++;
      series.last = now;
      series.lastAt = at;
      known.set(key, series);
      if (now - series.written >= seriesPeriodMs) enqueueSeries(series);
      return;
    }
    if (series !== undefined) enqueueSeries(series);
    // as client-go does: an object with ever new events does not crowd out the others
    if (!mayWrite(regarding.metadata.uid ?? '', now)) return;
    const reporter = { reportingController: controller, reportingInstance: instance };
    const event = { ...newEvent(regarding, { ...occurrence, note }, at), ...reporter };
    known.set(key, { event, count: 1, last: now, lastAt: at, written: now, writtenCount: 1 });
    writes.add(() => api.events.create(event));
    forgetOldest();
  }

  function forgetOldest(): void {
    for (const [key, series] of known) {
      if (known.size <= maxSeries) return;
      known.delete(key);
      enqueueSeries(series);
    }
  }

  function enqueueSeries(series: Series): void {
    const { event, count, last, lastAt } = series;
    if (count === series.writtenCount) return;
    series.written = last;
    series.writtenCount = count;
    writes.add(() => writeSeries(api, event, { count, lastObservedTime: microTime(lastAt) }));
  }

  return {
    record,
    async flush() {
      for (const series of known.values()) enqueueSeries(series);
      await writes.done();
    },
  };
}

async function writeSeries(
  api: EventRecorderOptions['api'],
  event: Series['event'],
  body: NonNullable<KubeEvent['series']>,
): Promise<void> {
  try {
    await api.events.patchSeries(event.metadata, body);
  } catch (error) {
    // The API server forgets events after an hour, or somebody deleted it.
    if (!(error instanceof KubeError && error.notFound)) throw error;
    await api.events.create({ ...event, series: body });
  }
}

interface BurstOptions {
  readonly burst: number;
  readonly refillMs: number;
  /** Maximum number of objects that are remembered. */
  readonly most: number;
}

/** Whether an object may write one more at a time of the monotonic clock; if so, it is counted. */
function createBursts({ burst, refillMs, most }: BurstOptions): (object: string, now: number) => boolean {
  /** By object, when its burst is fully available again. Most recent last. */
  const fullAt = new Map<string, number>();
  return (object, now) => {
    const full = Math.max(fullAt.get(object) ?? now, now) + refillMs;
    if (full - now > burst * refillMs) return false;
    fullAt.delete(object);
    fullAt.set(object, full);
    for (const [other, at] of fullAt) {
      if (at > now && fullAt.size <= most) break;
      fullAt.delete(other);
    }
    return true;
  };
}

/** Writes, one at a time. */
interface Writes {
  /** Dropped if too many wait. */
  add(write: () => Promise<unknown>): void;
  /** Resolves when none waits. */
  done(): Promise<void>;
}

function createWrites(maxWaiting: number, onError: EventRecorderOptions['onError']): Writes {
  const waiting: (() => Promise<unknown>)[] = [];
  let writing: Promise<void> | undefined;

  async function drain(): Promise<void> {
    for (let write = waiting.shift(); write !== undefined; write = waiting.shift()) {
      await write().catch((error: unknown) => onError?.(error));
    }
    writing = undefined;
  }

  return {
    add: (write) => {
      if (waiting.length >= maxWaiting) {
        onError?.(new Error(`an event was dropped: ${maxWaiting} others are waiting to be written`));
        return;
      }
      waiting.push(write);
      writing ??= drain();
    },
    done: async () => await writing,
  };
}

type NewEvent = Omit<Series['event'], 'reportingController' | 'reportingInstance'>;

function newEvent(regarding: KubeObject, { type, reason, action, note }: Occurrence, now: number): NewEvent {
  const { apiVersion, kind, metadata } = regarding;
  const { namespace = 'default', name, uid, resourceVersion } = metadata;
  return {
    apiVersion: 'events.k8s.io/v1',
    kind: 'Event',
    metadata: { namespace, name: eventName(name, now) },
    regarding: {
      ...(apiVersion && { apiVersion }),
      ...(kind && { kind }),
      ...(uid && { uid }),
      ...(resourceVersion && { resourceVersion }),
      namespace,
      name,
    },
    type,
    reason,
    action,
    note,
    eventTime: microTime(now),
  };
}

/** Unique, and short enough for an object of the longest name. */
function eventName(name: string, now: number): string {
  const unique = `${now.toString(16)}${Math.floor(Math.random() * 2 ** 32)
    .toString(16)
    .padStart(8, '0')}`;
  return `${name.slice(0, 253 - unique.length - 1)}.${unique}`;
}

/** At most `limit` bytes of UTF-8, with whole characters. */
function cut(text: string, limit: number): string {
  const bytes = Buffer.from(text);
  if (bytes.length <= limit) return text;
  const ellipsis = '…';
  let end = limit - Buffer.byteLength(ellipsis);
  // Back to the start of the character that the limit falls into.
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return bytes.toString('utf8', 0, end) + ellipsis;
}

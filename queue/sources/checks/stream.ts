/** A consumer group: streams that nobody reads, entries that are pending for long, and entries that are given to one reader after another. */
import { plural } from '../../../runtime/plural.ts';
import { parseDuration } from '../../../runtime/duration.ts';
import type { Ask } from '../ask.ts';
import { readConsumers, readStream, type StreamSettings } from '../stream.ts';
import { countGone } from '../stream-pending.ts';
import { pendingFor, type ConsumerInfo, type PendingEntry } from '../stream-info.ts';
import { adviseUnserved, type SourceAdvice } from './advice.ts';

/** Readers claim the entries of others after minutes, as a rule. */
const LONG_MS = 300_000;
const MOST_ENTRIES = 100;

interface Read {
  readonly queue: string;
  readonly work: number;
  /** Consumers on record, which no reader leaves by itself. */
  readonly consumers: readonly ConsumerInfo[];
  readonly late: readonly PendingEntry[];
  /** The oldest that are pending. */
  readonly pending: readonly PendingEntry[];
  /** Of these, entries that are not in the stream any more. */
  readonly gone: number;
}

export async function checkStream(
  { keys, group, longestTask }: StreamSettings,
  ask: Ask,
): Promise<SourceAdvice[]> {
  const found = await Promise.all(
    keys.map(async (key): Promise<Read> => {
      const [{ waiting }, { consumers }, gone, { answers }] = await Promise.all([
        readStream(ask, key, group),
        readConsumers(ask, key, group),
        countGone(ask, key, group),
        ask({
          late: pendingFor(key, group, LONG_MS, MOST_ENTRIES),
          pending: pendingFor(key, group, 0, MOST_ENTRIES),
        }),
      ]);
      return { queue: key, work: waiting, consumers, gone, ...answers };
    }),
  );
  const served = found.map(({ queue, work, consumers }) => ({ queue, work, workers: consumers.length }));
  const longestMs = Math.max(LONG_MS, longestTask === undefined ? 0 : parseDuration(longestTask));
  return [
    ...adviseUnserved(served),
    ...found.flatMap((one) => adviseUnread(one, group, longestMs)),
    ...found.flatMap(({ queue, late }) => adviseLate(queue, late)),
    ...found.flatMap(({ queue, gone }) => adviseGone(queue, gone)),
    ...found.flatMap(({ queue, pending }) => adviseRepeated(queue, pending)),
  ];
}

/** Where there are readers, by their names, and none of them has asked for anything for long. */
function adviseUnread({ queue, work, consumers }: Read, group: string, longMs: number): SourceAdvice[] {
  const [last] = consumers.toSorted((a, b) => a.idleMs - b.idleMs);
  if (work === 0 || !last || last.idleMs < longMs) return [];
  return [
    {
      note: `no worker takes from the stream "${queue}", where ${plural(work, 'entry waits', 'entries wait')}: of the group "${group}", the last consumer to ask for one was ${last.name}, ${ago(last.idleMs)} ago`,
      todo: 'see whether the readers run, or are busy for that long, and whether they read this group; a consumer that is gone stays on record until XGROUP DELCONSUMER',
    },
  ];
}

function adviseLate(queue: string, late: readonly PendingEntry[]): SourceAdvice[] {
  const [first] = late.toSorted((a, b) => b.idleMs - a.idleMs);
  if (!first) return [];
  return [
    {
      note: `${entriesOf(queue, late.length, 'is', 'are')} pending for more than 5 min, the longest for ${ago(first.idleMs)} (${first.id}, given to ${first.consumer}): ${late.length === 1 ? 'its consumer is gone, or its task takes that long' : 'their consumers are gone, or their tasks take that long'}`,
      todo: 'let the readers claim them (XAUTOCLAIM), with a min-idle-time above the longest task: a shorter one runs tasks twice',
    },
  ];
}

function adviseGone(queue: string, gone: number): SourceAdvice[] {
  if (gone === 0) return [];
  return [
    {
      note: `${entriesOf(queue, gone, 'is', 'are')} pending and no longer in the stream: deleted or trimmed before the acknowledgement, so nobody can run what is gone, and it does not count`,
      todo: 'let the readers acknowledge (XACK) before they delete, and trim less than waits or runs (MAXLEN); XAUTOCLAIM takes these off the list of pending entries (Redis 7)',
    },
  ];
}

/** An entry that was claimed is run by a second reader, whether the first one is gone or not. */
function adviseRepeated(queue: string, pending: readonly PendingEntry[]): SourceAdvice[] {
  const repeated = pending.filter(({ deliveries }) => deliveries > 1);
  const [first] = repeated.toSorted((a, b) => b.deliveries - a.deliveries);
  if (!first) return [];
  return [
    {
      note: `${entriesOf(queue, repeated.length, 'was', 'were')} delivered more than once, up to ${first.deliveries} times (${first.id}, now with ${first.consumer}): a task takes longer than the time after which readers claim entries of others, or a reader died`,
      todo: 'set the min-idle-time of XAUTOCLAIM (idle_timeout of taskiq) above the longest task, or it runs twice',
    },
  ];
}

/** `1 entry of "orders" is`, `3 entries of "orders" are`. */
function entriesOf(queue: string, count: number, one: string, other: string): string {
  if (count >= MOST_ENTRIES) return `${MOST_ENTRIES} or more entries of "${queue}" ${other}`;
  return plural(count, `entry of "${queue}" ${one}`, `entries of "${queue}" ${other}`);
}

function ago(ms: number): string {
  return ms < 7_200_000 ? `${Math.round(ms / 60_000)} min` : `${Math.round(ms / 3_600_000)} h`;
}

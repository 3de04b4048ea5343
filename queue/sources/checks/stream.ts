/** A consumer group: streams that nobody reads, and entries that are pending for long. */
import type { Ask } from '../ask.ts';
import { readConsumers, readStream, type StreamSettings } from '../stream.ts';
import { pendingFor, type PendingEntry } from '../stream-info.ts';
import { adviseUnserved, type SourceAdvice } from './advice.ts';

/** Readers claim the entries of others after minutes, as a rule. */
const LONG_MS = 300_000;
const MOST_ENTRIES = 100;

export async function checkStream({ keys, group }: StreamSettings, ask: Ask): Promise<SourceAdvice[]> {
  const found = await Promise.all(
    keys.map(async (key) => {
      const [{ waiting }, { consumers }, { answers }] = await Promise.all([
        readStream(ask, key, group),
        readConsumers(ask, key, group),
        ask({ late: pendingFor(key, group, LONG_MS, MOST_ENTRIES) }),
      ]);
      return { queue: key, work: waiting, workers: consumers.length, late: answers.late };
    }),
  );
  return [...adviseUnserved(found), ...found.flatMap(({ queue, late }) => adviseLate(queue, late))];
}

function adviseLate(queue: string, late: readonly PendingEntry[]): SourceAdvice[] {
  const [first] = late.toSorted((a, b) => b.idleMs - a.idleMs);
  if (!first) return [];
  const count = late.length < MOST_ENTRIES ? String(late.length) : `${MOST_ENTRIES} or more`;
  return [
    {
      note: `${count} entries of "${queue}" are pending for more than 5 min, one for ${minutes(first.idleMs)} (${first.id}, given to ${first.consumer}): their consumers are gone, or their tasks take that long`,
      todo: 'let the readers claim them (XAUTOCLAIM), with a min-idle-time above the longest task: a shorter one runs tasks twice',
    },
  ];
}

function minutes(ms: number): string {
  return ms < 7_200_000 ? `${Math.round(ms / 60_000)} min` : `${Math.round(ms / 3_600_000)} h`;
}

/** Moves the pause of a queue, and what pools keep beside it: what they have learned, their history, their last decisions. */
import type { Redis } from 'ioredis';
import { patternOf, type QueueKeys } from '../keys.ts';
import { isReply } from '../connection/reply-code.ts';
import { script } from '../scripts/scripts.ts';
import type { Route } from './batches.ts';
import { MoveRefused } from './side.ts';

/** Entries of a history in one round trip. */
const PAGE = 1_000;

/** Pauses the new place if the old one is paused, before it gets tasks. */
export async function copyPause({ source, destination, claim, to }: Route): Promise<void> {
  const paused = await source.ask(source.at(claim.keys.queue).getBuffer(claim.keys.paused));
  if (paused === null) return;
  await destination.ask(
    Promise.all(to.map(({ queue, paused: key }) => destination.at(queue).set(key, paused, 'NX'))),
  );
}

/** Ends the pause of the old place. */
export async function endPause({ source, claim }: Route): Promise<void> {
  await source.ask(source.at(claim.keys.queue).del(claim.keys.paused));
}

/** The queues beside which records of pools are, and are to be. */
export interface Records {
  readonly from: QueueKeys;
  readonly to: QueueKeys;
}

/** Moves the records of all pools; those that the new place has already win. */
export async function moveRecords(sides: Sides, { from, to }: Records): Promise<void> {
  const old = sides.source.at(from.queue);
  const there = sides.destination.at(to.queue);
  const path = (kind: 'memory' | 'decisions' | 'timeline', pool: string): RecordPath => ({
    ...sides,
    old,
    there,
    from: from[kind](pool),
    to: to[kind](pool),
  });
  for (const pool of await poolsBeside(sides, from)) {
    await moveMemory(path('memory', pool));
    await moveDecisions(path('decisions', pool));
    await moveTimeline(path('timeline', pool));
  }
}

type Sides = Pick<Route, 'source' | 'destination'>;

/** The way of one record: its server and key in the old place, and in the new one. */
interface RecordPath extends Sides {
  readonly old: Redis;
  readonly there: Redis;
  readonly from: string;
  readonly to: string;
}

/** `namespace/name` of each pool that has a record. Scans all keys of the server. */
async function poolsBeside({ source }: Sides, keys: QueueKeys): Promise<Set<string>> {
  const prefixes = [keys.memory(''), keys.timeline(''), keys.decisions('')];
  const base = keys.memory('').slice(0, -'memory:'.length);
  const pattern = patternOf(base);
  const found = new Set<string>();
  try {
    for (let cursor = '0'; ;) {
      const scan = source.at(keys.queue).scan(cursor, 'MATCH', pattern, 'COUNT', 10_000);
      const [next, page] = await source.ask(scan);
      for (const key of page)
        for (const prefix of prefixes) if (key.startsWith(prefix)) found.add(key.slice(prefix.length));
      cursor = next;
      if (cursor === '0') return found;
    }
  } catch (error) {
    // a user without the right to scan moves tasks all the same
    if (error instanceof MoveRefused && isReply(error.cause)) return found;
    throw error;
  }
}

async function moveMemory({ source, destination, old, there, from, to }: RecordPath): Promise<void> {
  const [value, left] = await source.ask(Promise.all([old.getBuffer(from), old.pttl(from)]));
  if (value === null) return;
  await destination.ask(left > 0 ? there.set(to, value, 'PX', left, 'NX') : there.set(to, value, 'NX'));
  await source.ask(old.del(from));
}

async function moveDecisions({ source, destination, old, there, from, to }: RecordPath): Promise<void> {
  const [all, left] = await source.ask(Promise.all([old.lrangeBuffer(from, 0, -1), old.pttl(from)]));
  if (all.length === 0) return;
  await destination.ask(script(there, 'move-decisions')(to, ...all));
  if (left > 0) await destination.ask(there.pexpire(to, left));
  await source.ask(old.del(from));
}

/** A history goes on where it was interrupted: entries have ids. What is older than one that the new place has begun itself is dropped. */
async function moveTimeline({ source, destination, old, there, from, to }: RecordPath): Promise<void> {
  const left = await source.ask(old.pttl(from));
  for (;;) {
    const page = await source.ask(old.xrangeBuffer(from, '-', '+', 'COUNT', PAGE));
    if (page.length === 0) break;
    const added = page.map(([id, fields]) =>
      there.xadd(to, id, ...fields).catch((error: unknown) => {
        // it has this entry, or newer ones of its own
        if (!(error instanceof Error && error.message.includes('equal or smaller'))) throw error;
      }),
    );
    await destination.ask(Promise.all(added));
    await source.ask(old.xdel(from, ...page.map(([id]) => id)));
  }
  if (left === -2) return;
  if (left > 0) await destination.ask(there.pexpire(to, left));
  await source.ask(old.del(from));
}

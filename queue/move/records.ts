/** Moves the pause of a queue, and what pools keep beside it: what they have learned, their history, their last decisions. */
import type { QueueKeys } from '../keys.ts';
import { isReply } from '../connection/reply-code.ts';
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
  for (const pool of await poolsBeside(sides, from)) {
    await moveMemory(sides, from, from.memory(pool), to, to.memory(pool));
    await moveDecisions(sides, from, from.decisions(pool), to, to.decisions(pool));
    await moveTimeline(sides, from, from.timeline(pool), to, to.timeline(pool));
  }
}

type Sides = Pick<Route, 'source' | 'destination'>;

/** `namespace/name` of each pool that has a record. Scans all keys of the server. */
async function poolsBeside({ source }: Sides, keys: QueueKeys): Promise<Set<string>> {
  const prefixes = [keys.memory(''), keys.timeline(''), keys.decisions('')];
  const base = keys.memory('').slice(0, -'memory:'.length);
  const pattern = `${base.replaceAll(/[[\]*?\\^]/g, String.raw`\$&`)}*`;
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

async function moveMemory(
  { source, destination }: Sides,
  beside: QueueKeys,
  key: string,
  { queue }: QueueKeys,
  to: string,
): Promise<void> {
  const from = source.at(beside.queue);
  const [value, left] = await source.ask(Promise.all([from.getBuffer(key), from.pttl(key)]));
  if (value === null) return;
  const there = destination.at(queue);
  await destination.ask(left > 0 ? there.set(to, value, 'PX', left, 'NX') : there.set(to, value, 'NX'));
  await source.ask(from.del(key));
}

async function moveDecisions(
  { source, destination }: Sides,
  beside: QueueKeys,
  key: string,
  { queue }: QueueKeys,
  to: string,
): Promise<void> {
  const from = source.at(beside.queue);
  const [all, left] = await source.ask(Promise.all([from.lrangeBuffer(key, 0, -1), from.pttl(key)]));
  if (all.length === 0) return;
  const there = destination.at(queue);
  if ((await destination.ask(there.exists(to))) === 0) await destination.ask(there.rpush(to, ...all));
  if (left > 0) await destination.ask(there.pexpire(to, left));
  await source.ask(from.del(key));
}

/** A history goes on where it was interrupted: entries have ids. What is older than one that the new place has begun itself is dropped. */
async function moveTimeline(
  { source, destination }: Sides,
  beside: QueueKeys,
  key: string,
  { queue }: QueueKeys,
  to: string,
): Promise<void> {
  const from = source.at(beside.queue);
  const there = destination.at(queue);
  const left = await source.ask(from.pttl(key));
  for (;;) {
    const page = await source.ask(from.xrangeBuffer(key, '-', '+', 'COUNT', PAGE));
    if (page.length === 0) break;
    const added = page.map(([id, fields]) =>
      there.xadd(to, id, ...fields).catch((error: unknown) => {
        // it has this entry, or newer ones of its own
        if (!(error instanceof Error && error.message.includes('equal or smaller'))) throw error;
      }),
    );
    await destination.ask(Promise.all(added));
    await source.ask(from.xdel(key, ...page.map(([id]) => id)));
  }
  if (left === -2) return;
  if (left > 0) await destination.ask(there.pexpire(to, left));
  await source.ask(from.del(key));
}

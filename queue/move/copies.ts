/**
 * Moves what has an id of its own, and may therefore be written twice: results, errors, times of expiry. Each page is
 * written to the new place, where what is there already wins, and then deleted in the old one if it is still the same.
 */
import { createHash } from 'node:crypto';
import type { QueueKeys } from '../keys.ts';
import { partitionOf } from '../partitions.ts';
import { script } from '../scripts/scripts.ts';
import { later } from './batch.ts';
import type { Route } from './batches.ts';

const PAGE = 1_000;
const PAGE_BYTES = 1 << 20;
/** The first page, when nothing is known of the size of its values. */
const FIRST_PAGE = 20;

/** Moves a hash of results or errors. Stops between two pages when `signal` aborts. */
export async function moveHash(
  route: Route,
  what: 'result' | 'errors',
  onMoved: (count: number) => void,
  signal?: AbortSignal,
): Promise<void> {
  const { source, claim, to } = route;
  const key = claim.keys[what];
  const from = source.at(what === 'result' ? key : claim.keys.queue);
  let count = FIRST_PAGE;
  for (let cursor = '0'; !signal?.aborted;) {
    const reply = await source.ask(script(from, 'move-page')(key, cursor, count));
    const [next, found] = reply as [Buffer, (Buffer | number)[]];
    const shares = to.map((): (Buffer | number)[] => []);
    const drops: (Buffer | string)[] = [];
    let bytes = 0;
    for (let i = 0; i < found.length; i += 3) {
      const [id, value, left] = found.slice(i, i + 3) as [Buffer, Buffer, number];
      shares[partitionOf(id, to.length)]?.push(id, value, left);
      drops.push(id, fingerprint(value));
      bytes += id.length + value.length;
    }
    if (drops.length > 0) {
      await keepHash(route, what, shares);
      await source.ask(script(from, 'move-drop')(key, ...drops));
      onMoved(drops.length / 2);
      count = Math.max(1, Math.min(PAGE, 4 * count, Math.floor((PAGE_BYTES * drops.length) / 2 / bytes)));
    }
    cursor = next.toString();
    if (cursor === '0') return;
  }
}

async function keepHash(
  { destination, to }: Route,
  what: 'result' | 'errors',
  shares: readonly (readonly (Buffer | number)[])[],
): Promise<void> {
  const kept = to.map(async (keys, i) => {
    const share = shares[i] ?? [];
    if (share.length === 0) return;
    const ofResults = what === 'result';
    const expiry = ofResults ? destination.resultExpiry(keys) : keys.expiry;
    const call = script(destination.at(ofResults ? keys.result : keys.queue), 'move-keep');
    await call(keys[what], expiry, ofResults ? 'r' : 'e', ...share);
  });
  await destination.ask(Promise.all(kept));
}

/** As the scripts' function of this name: tells a value from a later one under the same id. */
function fingerprint(value: Buffer): string {
  const short =
    value.length > 4_096
      ? Buffer.concat([Buffer.from(String(value.length)), value.subarray(0, 64), value.subarray(-64)])
      : value;
  return createHash('sha1').update(short).digest('hex').slice(0, 16);
}

/** Moves the times at which results, errors and dead letters expire: see sweep.lua. */
export async function moveExpiry(route: Route): Promise<void> {
  const { source, destination, claim } = route;
  const own = claim.keys.expiry;
  const apart = source.resultExpiry(claim.keys);
  for (const key of apart === own ? [own] : [own, apart])
    await moveScores(route, key === own ? 'queue' : 'result', key, async (keys, entries) => {
      for (const ofResults of [true, false]) {
        const expiry = ofResults ? destination.resultExpiry(keys) : keys.expiry;
        const chosen = pairs(entries).filter(([, member]) => isOfResult(member) === ofResults);
        if (chosen.length > 0)
          await destination.at(ofResults ? keys.result : keys.queue).zadd(expiry, 'NX', ...chosen.flat());
      }
    });
}

const BAR = 0x7c;
const isOfResult = (member: Buffer): boolean => member[0] === 'r'.codePointAt(0);

/** The id of a member's result or error; none for dead letters, which are in all partitions. */
function idOfExpiry(member: Buffer): Buffer[] {
  const bar = member.indexOf(BAR);
  return bar < 0 || member[0] === 'd'.codePointAt(0) ? [] : [member.subarray(bar + 1)];
}

function pairs(entries: readonly Buffer[]): [Buffer, Buffer][] {
  return Array.from(
    { length: entries.length / 2 },
    (_, i) => entries.slice(2 * i, 2 * i + 2) as [Buffer, Buffer],
  );
}

/** Moves a sorted set of expiry times; `write` gets scores and members in turn. Members without an id go to all partitions. */
async function moveScores(
  { source, destination, claim, to, aheadMs }: Route,
  beside: 'queue' | 'result',
  key: string,
  write: (keys: QueueKeys, entries: Buffer[]) => Promise<void>,
): Promise<void> {
  const from = source.at(beside === 'result' ? claim.keys.result : claim.keys.queue);
  for (;;) {
    const page = await source.ask(from.zrangeBuffer(key, '0', String(PAGE - 1), 'WITHSCORES'));
    if (page.length === 0) return;
    const shares = to.map((): Buffer[] => []);
    const members: Buffer[] = [];
    for (let i = 0; i < page.length; i += 2) {
      const [member, score] = page.slice(i, i + 2) as [Buffer, Buffer];
      members.push(member);
      const [id] = idOfExpiry(member);
      const chosen = id === undefined ? shares : [shares[partitionOf(id, to.length)]];
      for (const share of chosen) share?.push(later(score, aheadMs), member);
    }
    const written = to.map(async (keys, i) => {
      const share = shares[i] ?? [];
      if (share.length > 0) await write(keys, share);
    });
    await destination.ask(Promise.all(written));
    await source.ask(from.zrem(key, ...members));
  }
}

import { ReplyError } from 'ioredis';
import * as fc from 'fast-check';
import { expect, test } from 'vitest';
import { ConnectionDropped } from '../../queue/connection/drops.ts';
import {
  createParts,
  wholePart,
  type OutcomePart,
  type OutcomeParts,
} from '../../worker/turn/refused-outcomes.ts';
import { ResultsAway, turnRefusalOf, type TurnRefusal } from '../../worker/turn/refusal.ts';
import type { Finished, Outcome } from '../../queue/outcomes/outcome.ts';

const finished = (receipt: string, outcome: Outcome = { kind: 'result', value: 'x' }): Finished => ({
  delivery: { receipt, raw: Buffer.from(receipt), past: { attempts: 0, deliveries: 0 } },
  id: receipt,
  attempt: 1,
  outcome,
  serviceMs: 1,
});

const names = (entries: readonly Finished[]): Set<string> => new Set(entries.map(({ id }) => String(id)));

/** Plays a server that refuses each turn with an outcome that `refuses` names. Returns what was settled, in order. */
function play(
  parts: OutcomeParts,
  first: OutcomePart,
  refuses: (entry: Finished) => TurnRefusal | undefined,
): Finished[] {
  const settled: Finished[] = [];
  let now = 0;
  for (let part: OutcomePart | undefined = first; part; part = parts.next(now)) {
    const refusal = part.entries.map(refuses).find(Boolean);
    if (refusal) parts.refused(part, refusal, true, now);
    else settled.push(...part.entries);
    if (parts.open === 0) break;
    now = Math.max(now, parts.dueAt);
  }
  return settled;
}

test('whatever is refused, every other outcome is settled once, and the refused one becomes a dead letter once', () => {
  const outcomes = fc.array(fc.constantFrom('good', 'unsendable', 'rejected', 'dropped'), { maxLength: 200 });
  fc.assert(
    fc.property(outcomes, (kinds) => {
      const entries = kinds.map((kind, i) => finished(`${kind} ${i}`));
      const settled = play(
        createParts(() => 8),
        wholePart(entries),
        ({ delivery, outcome }) => {
          const [kind] = delivery.receipt.split(' ') as ['good' | TurnRefusal['kind']];
          return kind === 'good' || outcome.kind === 'dead' ? undefined : { kind, reason: 'no' };
        },
      );
      expect(settled).toHaveLength(entries.length);
      expect(names(settled)).toEqual(names(entries));
      for (const { id, outcome } of settled)
        expect(outcome.kind).toBe(id.toString().startsWith('good') ? 'result' : 'dead');
    }),
  );
});

test('a dead letter that is refused goes without its id, and when that is refused too it is deferred', () => {
  const parts = createParts(() => 1);
  const settled = play(parts, wholePart([finished('a')]), () => ({
    kind: 'rejected',
    reason: 'ERR too long',
  }));
  expect(settled).toEqual([]);
  expect(parts).toMatchObject({ size: 1, open: 0, full: true });
  const last = parts.next(Infinity);
  expect(last?.entries[0]?.outcome).toEqual({
    kind: 'dead',
    error:
      'it ran, but its result cannot be stored: ERR too long (its id cannot be written either: ERR too long)',
    unreported: true,
  });
});

test('what a state of the server refuses is deferred as it is, sent again, and handed back when the worker drains', () => {
  const parts = createParts(() => 2);
  const state: TurnRefusal = { kind: 'state', reason: 'WRONGTYPE' };
  expect(parts.refused(wholePart([finished('a')]), state, true, 100)).toBe('deferred');
  expect(parts).toMatchObject({ size: 1, open: 0, awaitingServer: 0, full: false, dueAt: 2_100 });
  expect(parts.next(2_099)).toBeUndefined();
  const again = parts.next(2_100) as OutcomePart;
  expect(again.entries[0]?.outcome.kind).toBe('result');
  parts.refused(again, state, true, 2_100);
  parts.release(3_000);
  expect(parts).toMatchObject({ open: 1, dueAt: 3_000 });
  expect(parts.next(3_000)?.entries[0]?.outcome).toEqual({ kind: 'release' });
});

test('what waits for memory alone is not handed back, unless it is on its way back already', () => {
  const parts = createParts(() => 2);
  const state: TurnRefusal = { kind: 'state', reason: 'any words', noMemory: true };
  parts.refused(wholePart([finished('a')]), state, true, 0);
  parts.refused(wholePart([finished('b', { kind: 'release' })]), state, true, 0);
  parts.release(1_000);
  expect(parts).toMatchObject({ size: 2, open: 0, awaitingServer: 1, dueAt: 2_000 });
  expect(parts.next(2_000)?.entries[0]?.outcome.kind).toBe('result');
});

test('what waits for the server of its results is deferred as a whole, whatever was answered, and not handed back', () => {
  const parts = createParts(() => 2);
  const away = turnRefusalOf(new ResultsAway('no answer')) as TurnRefusal;
  expect(parts.refused(wholePart([finished('a'), finished('b')]), away, false, 0)).toBe('deferred');
  expect(parts).toMatchObject({ size: 2, open: 0, full: true, awaitingServer: 2, dueAt: 2_000 });
  parts.release(1_000);
  expect(parts.next(2_000)?.entries.map(({ outcome }) => outcome.kind)).toEqual(['result', 'result']);
});

test("a server without memory is distinguished from other states, even within a script's error", () => {
  for (const text of [
    'OOM any words',
    'ERR Error running script (call to f_0): @user_script:1: -OOM any words',
  ])
    expect(turnRefusalOf(reply(text))).toMatchObject({ kind: 'state', noMemory: true });
  expect(turnRefusalOf(reply('MISCONF any words'))).not.toHaveProperty('noMemory');
});

test('while the server is away between the tries, nothing is concluded from a few of them', () => {
  const parts = createParts(() => 2);
  let part = wholePart([finished('a'), finished('b')]);
  for (let n = 1; n < 6; n++) {
    expect(parts.refused(part, { kind: 'rejected', reason: 'ERR odd' }, false, 0)).toBe('again');
    part = parts.next(0) as OutcomePart;
    expect(part.entries).toHaveLength(2);
  }
  expect(parts.refused(part, { kind: 'rejected', reason: 'ERR odd' }, false, 0)).toBe('cut');
});

const reply = (message: string): Error => new (ReplyError as new (message: string) => Error)(message);
test.each([
  [reply('ERR Protocol error: invalid bulk length'), 'rejected'],
  [reply('ERR max request size exceeded. Limit: 1048576 bytes'), 'rejected'],
  [reply('ERR user_script:1: too many results to unpack script: 0123, on @user_script:1.'), 'rejected'],
  [new RangeError('-1 cannot be packed'), 'unsendable'],
  [new ConnectionDropped('closed'), 'dropped'],
  [
    reply("OOM command not allowed when used memory > 'maxmemory'. script: 0123, on @user_script:1."),
    'state',
  ],
  [reply('ERR Error running script (call to f_0): @user_script:1: -OOM command not allowed'), 'state'],
  [reply('READONLY You can not write against a read only replica.'), 'state'],
  [reply('MISCONF Redis is configured to save RDB snapshots'), 'state'],
  [reply('NOREPLICAS Not enough good replicas to write.'), 'state'],
  [reply('LOADING Redis is loading the dataset in memory'), 'state'],
  [reply('BUSY Redis is busy running a script.'), 'state'],
  [reply('WRONGTYPE Operation against a key holding the wrong kind of value (the key is "q")'), 'state'],
  [reply('ERR max number of clients reached'), 'state'],
  [new Error('Connection is closed.'), undefined],
  [Object.assign(new Error('read ECONNRESET'), { code: 'ECONNRESET' }), undefined],
])('%s says: %s', (error, kind) => {
  expect(turnRefusalOf(error)?.kind).toBe(kind);
});

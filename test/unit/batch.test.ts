import { expect, test } from 'vitest';

import type { Delivery } from '../../queue/workers/turn.ts';
import type { Finished, Outcome } from '../../queue/outcomes/outcome.ts';
import { settledOf } from '../../queue/outcomes/settled.ts';
import { pack } from '../../queue/workers/pack.ts';
import { createBatch, type TakenOutcomes } from '../../worker/turn/batch.ts';

const delivery = (text: string, past = { attempts: 0, deliveries: 0 }): Delivery => ({
  receipt: `1-${text.length}`,
  raw: Buffer.from(text),
  past,
});

const finished = (text: string, outcome: Outcome, parts: Partial<Finished> = {}): Finished => ({
  delivery: delivery(text),
  id: text,
  attempt: 1,
  outcome,
  serviceMs: 2,
  ...parts,
});

/** What a turn sends of them; the results are packed as they are when they are packed at once. */
function listsOf({ entries, settled }: TakenOutcomes): Omit<TakenOutcomes['settled'], 'packed'> {
  expect(settled).toEqual(settledOf(entries, 'w'));
  const { packed, ...lists } = settled;
  expect(pack(packed?.receipts ?? [])).toEqual(pack(lists.results.map(({ receipt }) => receipt)));
  expect(pack(packed?.results ?? [])).toEqual(pack(lists.results.flatMap(({ id, value }) => [id, value])));
  return lists;
}

const cancelledHeader = (attempts: number): string =>
  `{"error":"cancelled","attempts":${attempts},"worker":"w","cancelled":true}`;

test('each outcome goes to its own list, and the service time and its squares add up', () => {
  const batch = createBatch('w');
  batch.add(finished('a', { kind: 'result', value: 'x' }), 10);
  batch.add(
    finished(
      'bb',
      { kind: 'retry', delayMs: 50, error: 'e' },
      { attempt: 3, delivery: delivery('bb', { attempts: 2, deliveries: 4 }) },
    ),
    11,
  );
  batch.add(finished('ccc', { kind: 'dead', error: 'gone' }, { attempt: 5 }), 12);
  batch.add(finished('dddd', { kind: 'release' }, { serviceMs: 100 }), 13);
  batch.release([delivery('nine chars')], 14);
  batch.add(finished('eeeee', { kind: 'cancelled' }, { serviceMs: 100 }), 15);
  batch.cancel(delivery('ffffff', { attempts: 2, deliveries: 0 }), 'ffffff', 16);
  expect(batch).toMatchObject({ size: 7, since: 10, releases: 2 });
  expect(listsOf(batch.take())).toEqual({
    results: [{ receipt: '1-1', id: 'a', value: 'x' }],
    retries: [{ receipt: '1-2', delayMs: 50, past: { attempts: 3, deliveries: 4 } }],
    dead: [{ receipt: '1-3', id: 'ccc', header: '{"error":"gone","attempts":5,"worker":"w"}' }],
    released: ['1-4', '1-10'],
    unbegun: ['1-10', '1-6'],
    cancelled: [
      { receipt: '1-5', id: 'eeeee', header: cancelledHeader(0) },
      { receipt: '1-6', id: 'ffffff', header: cancelledHeader(2) },
    ],
    serviceUs: 6_000,
    squaresMs2: 12,
  });
});

test('a taken outcome is not returned again', () => {
  const batch = createBatch('w');
  batch.add(finished('a', { kind: 'result', value: 'x' }), 10);
  listsOf(batch.take());
  expect(batch).toMatchObject({ size: 0, since: undefined, releases: 0 });
  const nothing = {
    results: [],
    retries: [],
    dead: [],
    released: [],
    cancelled: [],
    serviceUs: 0,
    squaresMs2: 0,
  };
  expect(listsOf(batch.take())).toEqual(nothing);
  batch.release([], 20);
  expect(batch.since).toBeUndefined();
});

test.each([
  ['{"id":"a"}', 'a', 'a'],
  ['a', 'a', undefined],
])('the dead letter of %s names the id only where it is not the whole task', (raw, id, named) => {
  const batch = createBatch('w');
  batch.add(finished(raw, { kind: 'dead', error: 'gone' }, { id }), 0);
  expect(JSON.parse(listsOf(batch.take()).dead[0]?.header ?? '')).toHaveProperty('error', 'gone');
  batch.add(finished(raw, { kind: 'dead', error: 'gone' }, { id }), 0);
  expect((JSON.parse(listsOf(batch.take()).dead[0]?.header ?? '') as { id?: string }).id).toBe(named);
});

test('one turn settles what Redis does in some ms, the oldest first, and the rest waits for the next one', () => {
  const batch = createBatch('w');
  const add = (kind: 'result' | 'dead', count: number): void => {
    for (let i = 0; i < count; i++)
      batch.add(finished(`${kind}${i}`, kind === 'result' ? { kind, value: '' } : { kind, error: '' }), 1);
  };
  add('result', 600);
  add('dead', 300);
  expect(batch.take().entries).toHaveLength(600 + 100);
  expect([batch.size, batch.since]).toEqual([200, 1]);
  expect(batch.take().entries).toHaveLength(200);
  expect([batch.size, batch.since]).toEqual([0, undefined]);
});

/** The batches of a chaos run: drawn from the seed, of each kind; and the judgement over them, a clean one spoiled in one thing. */
import { expect, test } from 'vitest';
import { checkBatches, type BatchRecord, type BatchTry, type Witnesses } from '../chaos/batch-check.ts';
import {
  countParts,
  drawBatches,
  nameBatch,
  plainTasks,
  withInner,
  type BatchPlan,
} from '../chaos/batch-plan.ts';
import { noFate, type Custody, type Fate } from '../chaos/custody.ts';
import { parseLedger } from '../chaos/ledger.ts';
import { parseTask } from '../../queue/task.ts';
import { partMarkOf } from '../../queue/batch-mark.ts';

test('the same seed draws the same batches, of every kind', () => {
  const batches = drawBatches(7, 10_000);
  expect(drawBatches(7, 10_000)).toEqual(batches);
  expect(drawBatches(8, 10_000)).not.toEqual(batches);
  expect(batches.reduce((sum, batch) => sum + countParts(batch), 0)).toBeGreaterThanOrEqual(10_000);
  const all = batches.flatMap((batch) => withInner(nameBatch(batch, batch.id)));
  for (const client of ['library', 'plain'] as const)
    for (const onFailure of ['wait', 'cancel', 'continue'] as const) {
      const some = all.filter(({ plan }) => plan.client === client && plan.onFailure === onFailure);
      const holds = (what: (batch: (typeof all)[number]) => unknown): void =>
        expect(some.some(what), `${client}, ${onFailure}: ${String(what)}`).toBe(true);
      holds(({ parts }) => parts.length === 1);
      holds(({ parts }) => parts.length >= 100);
      holds(({ outer }) => outer);
      holds(({ plan }) => plan.cancelAfterMs !== undefined);
      holds(({ parts }) => parts.some(({ order }) => order?.final));
      holds(({ parts }) => parts.some(({ order }) => order?.spawn));
    }
  expect(all.some(({ outer }) => outer?.outer)).toBe(true);
  expect(all.some(({ parts }) => parts.some(({ order }) => order?.forbidden))).toBe(true);
  expect(all.some(({ plan }) => plan.copies > 1)).toBe(true);
});

test('what a plain client pushes are parts that a worker accepts, nested ones too', () => {
  for (const batch of drawBatches(7, 3_000).filter(({ client }) => client === 'plain')) {
    const names = new Set(withInner(nameBatch(batch, batch.id)).map(({ id }) => id));
    for (const task of plainTasks(nameBatch(batch, batch.id))) {
      const raw = Buffer.from(task);
      const { id, value } = parseTask(raw);
      expect(names).toContain(partMarkOf(value, id, { raw })?.id);
    }
  }
});

const plan: BatchPlan = {
  id: 'b',
  client: 'library',
  queue: 0,
  onFailure: 'continue',
  parts: [{}, { spawn: [{}] }, { final: true }],
  copies: 1,
  cancelAfterMs: undefined,
};
const one: BatchTry = { plan, id: 'b', cancelled: false, abandoned: undefined, pushedAgain: 0 };
const record: BatchRecord = {
  state: 'ended',
  size: 4,
  done: 3,
  failed: 1,
  cancelled: 0,
  ids: ['b:0', 'b:1', 'b:2', 'b:1/0'],
  open: [],
};
const joined = (more: object = {}, read = { listed: 4, values: 3 }): [string, string] => {
  const parts = { batch: 'b', size: 4, succeeded: 3, failed: 1, cancelled: 0, ...more };
  return ['b:then', JSON.stringify({ run: 'w@1#1', parts, read })];
};
const results: [string, string][] = [['b:0', ''], ['b:1', ''], ['b:1/0', ''], joined()];
const fate = (more: Partial<Fate>): Fate => ({ ...noFate, pushed: 1, delivered: 1, ...more });
const fates = new Map([
  ...results.map(([id]) => [id, fate({ results: 1 })] as const),
  ['b:2', fate({ dead: 1 })] as const,
]);
const custodyOf = (changed: Iterable<readonly [string, Fate]> = []): Custody => ({
  fates: new Map([...fates, ...changed]),
  deliveries: new Map(),
  writes: [],
  unheld: [],
  fences: [],
});

interface Spoiled extends Partial<Witnesses> {
  readonly record?: Partial<BatchRecord> | null;
  readonly tried?: Partial<BatchTry>;
}

function kindsOf({ record: changed, tried, ...more }: Spoiled = {}): string[] {
  const records = new Map(changed === null ? [] : [['b', { ...record, ...changed }]]);
  const witnesses: Witnesses = {
    results: new Map(results),
    runs: parseLedger('w@1', '1 begin 1 1 b:then\n2 end 1 ok\n'),
    custody: custodyOf(),
    plain: [],
    ...more,
  };
  return checkBatches({ tries: [{ ...one, ...tried }], records }, witnesses).map(({ kind }) => kind);
}

test('a clean batch has no violations', () => {
  expect(kindsOf()).toEqual([]);
});

const withThen = (then: [string, string]): Spoiled => ({
  results: new Map([...results.slice(0, -1), then]),
});
const cancelling: Partial<BatchTry> = { plan: { ...plan, onFailure: 'cancel' } };

test.each<[string, string, Spoiled]>([
  ['nothing is known of it', 'batch lost', { record: null }],
  ['it has not ended', 'batch open', { record: { state: 'running', done: 2 } }],
  ['what only an open batch has is there', 'left over', { record: { open: ['left'] } }],
  ['its counts are too low', 'batch counts', { record: { done: 2 } }],
  ['a part is counted that has no result', 'batch counts', { results: new Map(results.slice(1)) }],
  ['it failed, and no part may fail it', 'batch state', { record: { state: 'failed' } }],
  ['it was cancelled by nobody', 'batch state', { record: { state: 'cancelled' } }],
  ['it ended, and a part had to fail it', 'batch state', { tried: cancelling }],
  ['a part is listed twice', 'batch parts', { record: { ids: [...record.ids, 'b:0'] } }],
  ['a part is not listed', 'part lost', { record: { ids: ['b:1', 'b:2', 'b:1/0', 'x'] } }],
  ['a part that a part added is not listed', 'part lost', { record: { ids: ['b:0', 'b:1', 'b:2'] } }],
  ['a stranger is listed', 'batch parts', { record: { ids: [...record.ids, 'x'] } }],
  ['what follows did not run', 'then', { runs: [] }],
  ['what follows has no result', 'then', { results: new Map(results.slice(0, -1)) }],
  ['what follows was told other counts', 'then', withThen(joined({ succeeded: 2 }))],
  ['what follows missed a result', 'then', withThen(joined({}, { listed: 4, values: 2 }))],
  ['what follows missed a part', 'then', withThen(joined({}, { listed: 3, values: 3 }))],
  [
    'what follows was pushed twice',
    'then',
    { custody: custodyOf([['b:then', fate({ pushed: 2, results: 2 })]]) },
  ],
  ['what follows ran twice', 'twice', { custody: custodyOf([['b:then', fate({ results: 2 })]]) }],
  ['a part did not end', 'lost', { custody: custodyOf([['b:0', fate({})]]) }],
])('it is found that %s', (_, kind, spoiled) => {
  expect(kindsOf(spoiled)).toContain(kind);
});

test('what a client has cancelled, or abandoned, may have ended in any state, with counts that are right', () => {
  const cancelled: BatchRecord = { ...record, state: 'cancelled', done: 1, failed: 0, cancelled: 3 };
  const some = { results: new Map(results.slice(0, 1)), record: cancelled, runs: [] };
  expect(kindsOf({ ...some, tried: { cancelled: true } })).toEqual([]);
  expect(kindsOf({ ...some, tried: { abandoned: 'Redis forgot it' } })).toEqual([]);
  expect(kindsOf({ record: null, tried: { abandoned: 'Redis forgot it' } })).toEqual([]);
  expect(kindsOf({ ...some, record: { ...cancelled, cancelled: 2 }, tried: { cancelled: true } })).toEqual([
    'batch counts',
  ]);
});

test('where the servers have no common history, a cancelled part may have a result, and no result may be missing', () => {
  const tries = [{ ...one, cancelled: true }];
  const found = (done: number): string[] => {
    const counts = { state: 'cancelled', done, failed: 0, cancelled: 4 - done };
    const records = new Map([['b', { ...record, ...counts }]]);
    return checkBatches({ tries, records }, { results: new Map(results), runs: [] }).map(({ kind }) => kind);
  };
  expect(found(1)).toEqual([]);
  expect(found(4)).toEqual(['batch counts']);
});

test('a part that waited for someone may be requeued when its batch has been cancelled, and then has a result', () => {
  const cancelled: BatchRecord = { ...record, state: 'cancelled', done: 1, failed: 1, cancelled: 2 };
  const found = (onFailure: BatchPlan['onFailure'], done: number): string[] =>
    kindsOf({
      record: { ...cancelled, done, cancelled: 3 - done },
      results: new Map(results.slice(0, 2)),
      runs: [],
      tried: { cancelled: true, plan: { ...plan, onFailure } },
    });
  expect(found('wait', 1)).toEqual([]);
  expect(found('wait', 3)).toEqual(['batch counts']);
  expect(found('continue', 1)).toEqual(['batch counts']);
});

test('what a plain worker took adds no parts and fails at nothing', () => {
  const spoiled: Spoiled = {
    plain: ['b:1', 'b:2'],
    record: { size: 3, done: 3, failed: 0, ids: ['b:0', 'b:1', 'b:2'] },
    results: new Map([
      ['b:0', ''],
      ['b:1', 'by a plain worker'],
      ['b:2', 'by a plain worker'],
      joined({ size: 3, succeeded: 3, failed: 0 }, { listed: 3, values: 3 }),
    ]),
    custody: custodyOf([
      ['b:1', fate({ delivered: 0 })],
      ['b:2', fate({ delivered: 0 })],
      ['b:1/0', noFate],
    ]),
  };
  expect(kindsOf(spoiled)).toEqual([]);
});

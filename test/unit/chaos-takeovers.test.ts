/** The judgement over a chaos run with takeovers catches each way in which a run can go wrong: a clean one is spoiled in one thing. */
import { expect, test } from 'vitest';
import type { BatchTry } from '../chaos/batch-check.ts';
import type { BatchPlan } from '../chaos/batch-plan.ts';
import type { Life } from '../chaos/check.ts';
import { parseLedger } from '../chaos/ledger.ts';
import { checkTakeovers, takeoverRepeats, type TakeoverEvidence } from '../chaos/takeover-check.ts';
import { createTakeoverPlan } from '../chaos/takeover-plan.ts';
import type { Task } from '../chaos/tasks.ts';

const task = (id: string, more: Partial<Task> = {}): Task => ({
  id,
  raw: id,
  queue: 0,
  copies: 1,
  delayMs: 0,
  outcome: 'result',
  attempts: 1,
  ...more,
});
const life: Life = { worker: 'w1', pid: 9, end: 'outside', from: 0, to: 1_000 };
const clean: TakeoverEvidence = {
  tasks: [task('a'), task('bad', { outcome: 'dead', attempts: 2 })],
  runs: parseLedger(
    'w1@9',
    '10 begin 1 1 a\n20 end 1 ok\n30 begin 2 1 bad\n31 end 2 failed\n40 begin 3 2 bad\n41 end 3 failed\n',
  ),
  lives: [life],
  faults: [],
  results: new Map([['a', '{"run":"w1@9#1"}']]),
  dead: ['bad'],
  batches: { tries: [], records: new Map() },
  leftovers: [],
  complaints: [],
};

const kinds = (more: Partial<TakeoverEvidence>): string[] =>
  checkTakeovers({ ...clean, ...more }).map(({ kind }) => kind);
const ledger = (text: string): TakeoverEvidence['runs'] => parseLedger('w1@9', text);

test('a clean run has no violation, nor has one that was repeated', () => {
  expect(kinds({})).toEqual([]);
  expect(kinds({ dead: ['bad', 'bad'] })).toEqual([]);
  // a copy that was pushed again may have taken workers with it
  expect(kinds({ dead: ['bad', 'a'] })).toEqual([]);
});

test.each<[string, Partial<TakeoverEvidence>]>([
  ['lost', { results: new Map() }],
  ['lost', { dead: [] }],
  ['wrong end', { results: new Map([...clean.results, ['bad', '{"run":"w1@9#1"}']]) }],
  ['wrong end', { results: new Map(), dead: ['a', 'bad'] }],
  ['wrong result', { results: new Map([['a', '{"run":"w1@9#2"}']]) }],
  ['wrong result', { results: new Map([['a', '{"run":"w2@9#1"}']]) }],
  ['wrong result', { results: new Map([...clean.results, ['other', '{"run":"w1@9#1"}']]) }],
  ['wrong result', { runs: ledger('10 begin 1 1 a\n20 end 1 failed\n') }],
  ['killed busy', { runs: [...clean.runs, ...ledger('50 begin 4 1 a\n')] }],
  ['crash', { lives: [{ ...life, end: 'crashed' }] }],
  ['left over', { leftovers: ['the key k'] }],
  ['client', { complaints: ['nothing came'] }],
])('%s', (kind, more) => {
  expect(kinds(more)).toContain(kind);
});

test('what the part of a cancelled batch has added may have a result, which its batch does not list', () => {
  const plan: BatchPlan = {
    id: 'b',
    client: 'plain',
    queue: 0,
    onFailure: 'continue',
    parts: [{ spawn: [{ spawn: [{}] }] }],
    copies: 1,
    cancelAfterMs: 0,
  };
  const one: BatchTry = { plan, id: 'b', cancelled: true, abandoned: undefined, pushedAgain: 0 };
  const batches = { tries: [one], records: new Map() };
  const results = new Map([...clean.results, ['b:0/0/0', '{"run":"w1@9#6"}']]);
  const upTo = (...lines: string[]): Partial<TakeoverEvidence> => ({
    batches,
    results,
    runs: [...clean.runs, ...ledger(`${lines.join('\n')}\n`)],
  });
  const grandchild = ['50 begin 6 1 b:0/0/0', '51 end 6 ok'];
  const parents = ['42 begin 4 1 b:0', '43 end 4 ok', '44 begin 5 1 b:0/0', '45 end 5 ok'];
  expect(kinds(upTo(...parents, ...grandchild))).toEqual([]);
  expect(kinds(upTo(...parents.slice(0, 2), ...grandchild))).toEqual(['wrong result']);
  expect(kinds(upTo(...parents.slice(0, 3), '45 end 5 failed', ...grandchild))).toEqual(['wrong result']);
});

test('repeats are runs beyond the attempts that a task takes, for each copy of it', () => {
  const runs = ledger(
    '10 begin 1 1 a\n20 end 1 ok\n30 begin 2 1 a\n31 end 2 ok\n40 begin 3 1 c\n50 begin 4 1 c\n',
  );
  const tasks = [task('a'), task('c', { copies: 2, attempts: undefined }), task('bad', { attempts: 4 })];
  expect(takeoverRepeats({ tasks, runs })).toEqual(new Map([['a', 1]]));
});

test('the same seed makes the same plan, in which primaries are lost in every way', () => {
  const [one, again] = [0, 1].map(() => createTakeoverPlan('cluster', 7, 2_000, 30_000));
  expect(one?.rounds).toEqual(again?.rounds);
  const takeovers = Array.from({ length: 4 }, () => one?.takeovers());
  expect(takeovers).toEqual(Array.from({ length: 4 }, () => again?.takeovers()));
  expect(new Set(takeovers.map((takeover) => takeover?.how)).size).toBe(4);
});

/** When a queue's next turn is due, how many tasks it requests, and when tasks that wait for a slot are handed back. */
import { describe, expect, test } from 'vitest';
import { initialState, type EpochState, type Hints } from '../../worker/epoch/state.ts';
import { staleIn, turnIn, wantedTasks, type Room, type TurnSituation } from '../../worker/epoch/turn-due.ts';

const NOW = 10_000;

/** A worker that has nothing to do: its last turn was answered 100 ms ago. */
const idle: EpochState = {
  ...initialState,
  turns: 5,
  answeredAt: NOW - 100,
  hints: { poll: false, backlog: false, heldReady: false, woken: false, turnNow: false, dueAt: Infinity },
  reported: { state: 'idle', elsewhere: 0, maybeDrained: false },
};
const hinted = (hints: Partial<Hints>): EpochState => ({ ...idle, hints: { ...idle.hints, ...hints } });
const apart: EpochState = {
  ...idle,
  orders: { ...idle.orders, apart: true },
  reported: { ...idle.reported, elsewhere: 1 },
};

const situation: TurnSituation = {
  state: idle,
  mode: 'taking',
  leaseMs: 15_000,
  resting: false,
  batch: { size: 0, since: undefined },
  refusedDueAt: Infinity,
  held: 0,
  target: 4,
  slots: { free: 2, holding: 0 },
  asked: 0,
  mustWait: () => false,
  suspectsBeside: () => false,
  mayTake: () => true,
  report: () => 'idle',
};

const free = { free: 2, holding: 0 };
const full = { free: 0, holding: 4 };
const finished = (size: number, agoMs: number): TurnSituation['batch'] => ({ size, since: NOW - agoMs });

const rows: readonly (Partial<TurnSituation> & { readonly name: string; readonly due: number })[] = [
  { name: 'idle: a second after the last one', due: 900 },
  { name: 'a third of a short lease', leaseMs: 1_200, due: 300 },
  { name: 'at rest', resting: true, due: Infinity },
  { name: 'at rest, a delayed task falls due', resting: true, state: hinted({ dueAt: NOW + 30 }), due: 30 },
  { name: 'at rest, and something may have come', resting: true, state: hinted({ poll: true }), due: 0 },
  { name: 'at rest, and it is to drain', resting: true, mode: 'draining', due: 150 },
  { name: 'the first one', state: { ...idle, turns: 0 }, due: 0 },
  { name: 'wanted now by another queue', state: hinted({ turnNow: true }), mode: 'draining', due: 0 },

  { name: 'suspects beside others, which Redis does not know', suspectsBeside: () => true, due: 0 },
  {
    name: 'suspects beside others, as Redis knows',
    state: { ...idle, reported: { ...idle.reported, elsewhere: 1 } },
    suspectsBeside: () => true,
    due: 900,
  },

  { name: 'there may be tasks', state: hinted({ poll: true }), due: 0 },
  {
    name: 'there may be tasks, other queues go first',
    state: hinted({ poll: true }),
    mayTake: () => false,
    due: 900,
  },
  {
    name: 'there may be tasks, half of the target is held',
    state: hinted({ poll: true }),
    slots: { free: 0, holding: 2 },
    due: 0,
  },
  { name: 'there may be tasks, enough are held', state: hinted({ poll: true }), slots: full, due: 900 },
  {
    name: 'there may be tasks, and it drains',
    state: hinted({ poll: true }),
    mode: 'draining',
    report: () => 'idle',
    due: 150,
  },

  { name: 'a task was moved', state: hinted({ woken: true }), slots: free, due: 0 },
  {
    name: 'a task was moved, other queues go first',
    state: hinted({ woken: true }),
    mayTake: () => false,
    due: 900,
  },
  {
    name: 'a task was moved and cannot run',
    state: hinted({ woken: true }),
    slots: full,
    mayTake: () => false,
    due: 0,
  },
  {
    name: 'a task was moved while it drains',
    state: hinted({ woken: true }),
    mode: 'draining',
    mayTake: () => false,
    due: 0,
  },
  {
    name: 'a task was moved, suspects go first',
    state: hinted({ woken: true }),
    mustWait: () => true,
    mayTake: () => false,
    due: 0,
  },

  { name: 'a result waits for company', batch: finished(1, 0.5), held: 1, due: 1.5 },
  { name: 'a result has waited', batch: finished(1, 3), held: 1, due: 0 },
  { name: 'a result, and a slot is free', batch: finished(1, 0), slots: free, due: 0 },
  { name: 'a result, and all slots are taken', batch: finished(1, 0), slots: full, due: 2 },
  { name: 'a full batch', batch: finished(128, 0), slots: full, due: 0 },
  { name: 'a result while it drains', batch: finished(1, 0), slots: full, mode: 'draining', due: 0 },

  { name: 'a delayed task falls due', state: hinted({ dueAt: NOW + 30 }), due: 30 },
  { name: 'a delayed task is overdue', state: hinted({ dueAt: NOW - 30 }), due: 0 },
  {
    name: 'a delayed task of one that drains',
    state: hinted({ dueAt: NOW + 30 }),
    mode: 'draining',
    due: 150,
  },
  { name: 'a refused outcome is to be sent again', refusedDueAt: NOW + 20, due: 20 },
  { name: 'a refused outcome, overdue', refusedDueAt: NOW, mode: 'draining', due: 0 },

  { name: 'it drains, and Redis knows', mode: 'draining', report: () => 'idle', due: 150 },
  { name: 'it drains, and Redis does not know', mode: 'draining', report: () => 'draining', due: 0 },
  {
    name: 'Redis may hold that it has drained',
    state: { ...idle, reported: { ...idle.reported, state: 'drained', maybeDrained: true } },
    due: 0,
  },
  { name: 'it became busy', report: () => 'busy', due: 900 },

  { name: 'apart: the worker is empty now', state: apart, mode: 'apart', due: 0 },
  {
    name: 'apart: it holds something',
    state: apart,
    mode: 'apart',
    slots: { free: 1, holding: 1 },
    due: 900,
  },
  { name: 'apart: a turn is on its way', state: { ...apart, underway: 'taking' }, mode: 'apart', due: 900 },
];

test.each(rows)('$name: in $due ms', (row) => {
  expect(turnIn({ ...situation, ...row }, NOW)).toBe(row.due);
});

test('other queues are asked only for tasks that could be taken', () => {
  const asked: string[] = [];
  const mayTake = (): boolean => asked.push('asked') > 0;
  turnIn({ ...situation, mayTake }, NOW);
  turnIn({ ...situation, mayTake, state: hinted({ poll: true }), slots: full }, NOW);
  expect(asked).toEqual([]);
  turnIn({ ...situation, mayTake, state: hinted({ poll: true }) }, NOW);
  expect(asked).toEqual(['asked']);
});

describe('what waits for a slot goes back', () => {
  test.each([
    { name: 'nothing waits', since: undefined, due: Infinity },
    { name: 'a task', since: NOW - 100, due: 150 },
    { name: 'a task that has waited for long', since: NOW - 300, due: 0 },
    { name: 'a task behind suspects of a queue above', since: NOW, mustWait: true, due: 0 },
    { name: 'a suspect beside its fellows', since: NOW - 5_000, suspects: true, due: Infinity },
    { name: 'a suspect beside other tasks', since: NOW - 100, suspects: true, beside: 1, due: 900 },
  ])('$name: in $due ms', ({ since, suspects = false, mustWait = false, beside = 0, due }) => {
    expect(staleIn({ since, suspects, mustWait, beside }, NOW)).toBe(due);
  });
});

describe('how many tasks a turn asks for', () => {
  const room: Room = {
    mode: 'taking',
    after: false,
    full: false,
    usableSlots: 2,
    target: 20,
    holding: 0,
    held: 0,
    heldBytes: 0,
  };
  const wants: readonly (Partial<Room> & { readonly name: string; readonly want: number })[] = [
    { name: 'half of the target at a time', want: 10 },
    { name: 'what is missing to the target', holding: 15, want: 5 },
    { name: 'one for each slot where tasks are slow', target: 2, want: 2 },
    { name: 'none while enough wait', holding: 15, held: 13, want: 0 },
    { name: 'more while few wait', holding: 10, held: 8, want: 10 },
    { name: 'none while many bytes wait', holding: 3, held: 1, heldBytes: 16 << 20, want: 0 },
    { name: 'none more than the target', holding: 25, want: 0 },
    { name: 'none while queues above go first', after: true, want: 0 },
    { name: 'none while refused outcomes pile up', full: true, want: 0 },
    { name: 'none while draining', mode: 'draining', want: 0 },
    { name: 'none while leaving', mode: 'leaving', want: 0 },
    // Redis gives none out then, and is the first to know when that is over
    { name: 'as many in a paused queue', mode: 'paused', want: 10 },
    { name: 'as many while apart', mode: 'apart', want: 10 },
  ];
  test.each(wants)('$name: $want', (row) => {
    expect(wantedTasks({ ...room, ...row })).toBe(row.want);
  });
});

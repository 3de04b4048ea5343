/** What one queue of a worker does next: the mode that follows from its orders and the worker's, and the effects of a reply. */
import { describe, expect, test } from 'vitest';
import {
  added,
  adopted,
  foundEmpty,
  initialState,
  mayBegin,
  modeOf,
  next,
  reporting,
  sending,
  wantsWork,
  withHints,
  withoutSeen,
  type AnsweredTurn,
  type EpochState,
  type EpochMode,
  type Orders,
} from '../../worker/epoch/state.ts';

const NONE: Orders = { drain: false, paused: false, apart: false, refusal: undefined };
const ALL: Orders = { drain: true, paused: true, apart: true, refusal: 'WRONGTYPE' };

interface ModeRow {
  readonly name: string;
  readonly orders?: Partial<Orders>;
  readonly drains?: boolean;
  readonly leaves?: boolean;
  readonly mode: EpochMode;
}

const modes: readonly ModeRow[] = [
  { name: 'without orders', mode: 'taking' },
  { name: 'set apart for suspects', orders: { apart: true }, mode: 'apart' },
  { name: 'the queue cannot be read', orders: { refusal: 'WRONGTYPE', apart: true }, mode: 'refused' },
  { name: 'a paused queue that cannot be read', orders: { ...ALL, drain: false }, mode: 'paused' },
  { name: 'drained by its own controller', orders: ALL, mode: 'draining' },
  { name: 'drained by that of another queue, or stopped', drains: true, mode: 'draining' },
  { name: 'draining before paused', orders: { paused: true }, drains: true, mode: 'draining' },
  { name: 'told to hurry', orders: ALL, drains: true, leaves: true, mode: 'leaving' },
  { name: 'told to hurry without having been stopped', leaves: true, mode: 'leaving' },
];

test.each(modes)('$name: $mode', ({ orders, drains = false, leaves = false, mode }) => {
  expect(modeOf({ ...NONE, ...orders }, { drains, leaves })).toBe(mode);
});

test('taken tasks are started in every mode that does not hand them back', () => {
  const all: readonly EpochMode[] = ['taking', 'apart', 'refused', 'paused', 'draining', 'leaving'];
  expect(all.filter(mayBegin)).toEqual(['taking', 'apart', 'refused']);
});

test.each([
  { hints: {}, mode: 'taking', wants: false },
  { hints: { poll: true }, mode: 'taking', wants: true },
  { hints: { backlog: true }, mode: 'taking', wants: true },
  { hints: { woken: true }, mode: 'taking', wants: true },
  { hints: { poll: true, backlog: true, woken: true }, mode: 'apart', wants: false },
  { hints: { poll: true, backlog: true, woken: true }, mode: 'draining', wants: false },
] as const)('$mode with $hints wants work: $wants', ({ hints, mode, wants }) => {
  expect(wantsWork(withHints(initialState, { poll: false, ...hints }), mode)).toBe(wants);
});

/** A turn that took from an empty queue, and what is `changed` about it. */
function answered(
  changed: Partial<AnsweredTurn> = {},
  reply: Partial<AnsweredTurn['reply']> = {},
): AnsweredTurn {
  return {
    reply: {
      kind: 'held',
      now: 5_000,
      length: 0,
      drain: false,
      paused: false,
      seen: 0,
      tasks: [],
      dueInMs: undefined,
      marks: 0,
      apart: false,
      madeAt: 5_000,
      aside: 0,
      form: 0,
      ...reply,
    },
    state: 'idle',
    elsewhere: 0,
    settling: 0,
    sentAt: 100,
    tookMs: 10,
    answeredAt: 110,
    mayTake: true,
    withoutSuspects: false,
    holding: 0,
    ...changed,
  };
}

const state = (changed: Partial<EpochState>): EpochState => ({ ...initialState, ...changed });
const draining = state({ orders: { ...NONE, drain: true } });

describe('whether a reply is followed by another poll', () => {
  interface Row {
    readonly name: string;
    readonly before?: EpochState;
    readonly turn?: Partial<AnsweredTurn>;
    readonly reply?: Partial<AnsweredTurn['reply']>;
    readonly poll: boolean;
  }
  const rows: readonly Row[] = [
    { name: 'the queue is empty now', poll: false },
    { name: 'there are more', reply: { length: 3 }, poll: true },
    {
      name: 'there are more, and the slots are full',
      turn: { mayTake: false },
      reply: { length: 3 },
      poll: false,
    },
    { name: 'paused', reply: { length: 3, paused: true }, poll: false },
    { name: 'apart', reply: { length: 3, apart: true }, poll: false },
    { name: 'refused', reply: { length: 'WRONGTYPE' }, poll: false },
    {
      name: 'the controller has taken back the drain',
      before: draining,
      turn: { mayTake: false },
      reply: { length: 3 },
      poll: true,
    },
    {
      name: 'it still drains',
      before: draining,
      turn: { mayTake: false },
      reply: { length: 3, drain: true },
      poll: false,
    },
    { name: 'suspects wait, and it could have taken them', reply: { aside: 1 }, poll: false },
    {
      name: 'suspects wait that it could not take',
      turn: { withoutSuspects: true },
      reply: { aside: 1 },
      poll: true,
    },
    {
      name: 'suspects wait, and the worker is not empty',
      turn: { withoutSuspects: true, holding: 1 },
      reply: { aside: 1 },
      poll: false,
    },
    {
      name: 'suspects wait, and it empties itself for them',
      turn: { withoutSuspects: true },
      reply: { aside: 1, apart: true },
      poll: false,
    },
  ];
  test.each(rows)('$name: $poll', ({ before = initialState, turn, reply, poll }) => {
    expect(next(before, answered(turn, reply)).hints.poll).toBe(poll);
  });
});

describe('how many tasks are not settled', () => {
  const tasks = [{ receipt: '1-1', raw: Buffer.from('a'), past: { attempts: 0, deliveries: 0 } }];
  test.each([
    { name: 'one was taken, two were settled', form: 0, holds: 4 },
    { name: 'one was taken, the outcomes were refused', form: 1, holds: 6 },
  ])('$name: $holds', ({ form, holds }) => {
    const reply = { tasks, form };
    expect(next(state({ holds: 5 }), answered({ settling: 2 }, reply)).holds).toBe(holds);
  });
});

describe('when something last happened', () => {
  const tasks = [{ receipt: '1-1', raw: Buffer.from('a'), past: { attempts: 0, deliveries: 0 } }];
  test.each<{
    readonly name: string;
    readonly activeAt?: number;
    readonly turn?: Partial<AnsweredTurn>;
    readonly reply?: Partial<AnsweredTurn['reply']>;
    readonly now: boolean;
  }>([
    { name: 'the first turn', activeAt: -Infinity, now: true },
    { name: 'nothing was found', now: false },
    { name: 'tasks came', reply: { tasks }, now: true },
    { name: 'tasks are settled', turn: { settling: 1 }, now: true },
    { name: 'there are tasks', reply: { length: 3 }, now: true },
    { name: 'suspects wait', reply: { aside: 1 }, now: true },
    { name: 'nothing can be taken', reply: { length: 'WRONGTYPE' }, now: true },
    { name: 'an order', reply: { drain: true }, now: true },
  ])('$name: $now', ({ activeAt = 5, turn, reply, now }) => {
    expect(next(state({ activeAt }), answered(turn, reply)).activeAt).toBe(now ? 110 : activeAt);
  });
});

test('a reply is remembered, with its orders and with when things are due', () => {
  const turn = answered(
    { state: 'busy', elsewhere: 2 },
    { seen: 7, madeAt: 4_000, length: 'NOPERM', drain: true, dueInMs: 40 },
  );
  const after = next(
    state({ roundTripMs: 160, underway: 'taking', hints: { ...initialState.hints, woken: true } }),
    turn,
  );
  expect(after).toMatchObject({
    seen: 7,
    madeAt: 4_000,
    orders: { drain: true, paused: false, apart: false, refusal: 'NOPERM' },
    reported: { state: 'busy', elsewhere: 2, maybeDrained: false },
    // a task that was moved meanwhile is for the next turn
    hints: { woken: true, backlog: false, dueAt: 150 },
    // what came is not begun yet
    underway: 'settling',
    readAt: 110,
    readSentAt: 100,
    roundTripMs: 10,
  });
});

test('the fastest round trip is forgotten slowly', () => {
  const slow = answered({ tookMs: 160 });
  expect(next(state({ roundTripMs: 10 }), slow).roundTripMs).toBe(20);
});

test('a drained state may be known to Redis from when it was sent until another one was answered', () => {
  const sent = reporting(initialState, 'drained');
  expect(sent.reported).toEqual({ state: undefined, elsewhere: 0, maybeDrained: true });
  expect(reporting(sent, 'draining').reported.maybeDrained).toBe(true);
  expect(next(sent, answered({ state: 'draining' })).reported.maybeDrained).toBe(false);
  expect(next(sent, answered({ state: 'drained' })).reported.maybeDrained).toBe(true);
});

test.each([
  { name: 'asks for tasks', sent: { want: 1, settling: 0 }, underway: 'taking' },
  { name: 'adopts what was moved', woken: true, sent: { want: 0, settling: 0 }, underway: 'taking' },
  { name: 'settles alone', sent: { want: 0, settling: 2 }, underway: 'settling' },
  { name: 'renews the lease', sent: { want: 0, settling: 0 }, underway: 'none' },
])('a turn that $name: $underway', ({ woken = false, sent, underway }) => {
  const before = withHints(initialState, { woken, poll: true, turnNow: true, backlog: true });
  expect(sending(before, { ...sent, releasing: false, suspects: false })).toMatchObject({
    turns: 1,
    underway,
    hints: { poll: false, woken: false, turnNow: false, backlog: true },
  });
});

test('tasks are in transit from a wake, or from when they go back, until the reply was handled', () => {
  const sent = { want: 0, settling: 0, releasing: false, suspects: false };
  const woken = sending(withHints(initialState, { woken: true }), sent);
  expect(woken.inTransit).toBe(true);
  const replied = next(woken, answered());
  expect(replied.inTransit).toBe(true);
  expect(added(replied)).toMatchObject({ inTransit: false, underway: 'none' });
  expect(sending(added(replied), sent).inTransit).toBe(false);
  expect(sending(initialState, { ...sent, settling: 1, releasing: true }).inTransit).toBe(true);
});

test('company is forgotten with its suspects', () => {
  const sent = { want: 0, settling: 0, releasing: false };
  expect(sending(state({ company: 'known' }), { ...sent, suspects: true }).company).toBe('known');
  expect(sending(state({ company: 'known' }), { ...sent, suspects: false }).company).toBe('none');
});

describe('a read that found the queue empty', () => {
  const hints = { ...initialState.hints, backlog: true };
  const before = state({ turns: 2, readSentAt: 100, hints });
  const read = { turns: 2, sentAt: 120, at: 130 };

  test('counts', () => {
    const after = foundEmpty(before, read);
    expect(after).toMatchObject({ readAt: 130, readSentAt: 120, hints: { poll: false, backlog: false } });
  });

  test.each([
    { name: 'a turn was sent since', before: { ...before, turns: 3 } },
    { name: 'a task was moved to the worker since', before: withHints(before, { woken: true }) },
    { name: 'a later read was answered before', before: { ...before, readSentAt: 125 } },
  ])('does not count when $name', (row) => {
    expect(foundEmpty(row.before, read)).toBe(row.before);
  });
});

describe('a task that came by the idle wait', () => {
  const before = state({ seen: 7, holds: 2 });

  test('is held, and its receipt seen; more of them are asked for', () => {
    expect(adopted(before, { counter: 8, more: false })).toEqual({ ...before, seen: 8, holds: 3 });
    expect(adopted(before, { counter: 8, more: true })?.hints).toMatchObject({ poll: true, backlog: true });
  });

  test('is left to the next turn where others before it were not seen, or it was seen itself', () => {
    expect(adopted(before, { counter: 9, more: false })).toBeUndefined();
    expect(adopted(before, { counter: 7, more: false })).toBeUndefined();
  });

  test.each([
    { name: 'had returned nothing before it came', reply: { seen: 7, tasks: [] }, left: [] },
    { name: 'returned it once more', reply: { seen: 8, tasks: ['8'] }, left: [] },
    { name: 'returned it and others', reply: { seen: 10, tasks: ['8', '9', '10'] }, left: ['9', '10'] },
  ])('is no second time among those of a turn that $name', ({ reply, left }) => {
    expect(withoutSeen({ seen: 8 }, reply as never)).toMatchObject({ tasks: left });
    expect(withoutSeen({ seen: 7 }, reply as never)).toBe(reply);
  });
});

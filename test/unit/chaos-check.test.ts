/** The judgement over a chaos run catches each way in which a run can go wrong: a clean one is spoiled in one thing. */
import { expect, test } from 'vitest';
import type { Transaction } from '../chaos/aof.ts';
import { inCommon } from '../chaos/primary.ts';
import { parseAof } from '../chaos/aof.ts';
import { check, recoveryTimes, repeats, type Evidence, type Life } from '../chaos/check.ts';
import { noFate, readCustody } from '../chaos/custody.ts';
import { parseLedger, type Run } from '../chaos/ledger.ts';
import type { Task } from '../chaos/tasks.ts';
import { queueKeys } from '../../queue/keys.ts';

const keys = queueKeys('q', 'r');
const [worker, inflight] = [keys.worker('w1'), keys.inflight('w1')];

/** An append-only file of these steps; several commands in one are one script's. */
function aof(steps: readonly (readonly string[][])[]): Buffer {
  const commands = steps.flatMap((step) => (step.length > 1 ? [['MULTI'], ...step, ['EXEC']] : step));
  const text = (command: readonly string[]): string =>
    `*${command.length}\r\n${command.map((arg) => `$${Buffer.byteLength(arg)}\r\n${arg}\r\n`).join('')}`;
  return Buffer.from([['SELECT', '0'], ...commands].map(text).join(''));
}

const push = [['lpush', 'q', 'a']];
const take = (receipt: string): string[][] => [
  ['RPOP', 'q', '1'],
  ['HSET', inflight, receipt, 'a'],
  ['HSET', worker, 'turn', '1'],
];
const settle = (receipt: string, run: string): string[][] => [
  ['HSET', 'r', 'a', `{"run":"${run}"}`],
  ['HDEL', inflight, receipt],
  ['HSET', worker, 'turn', '2'],
];
const fence = [
  ['RPUSH', 'q', 'a'],
  ['DEL', inflight, keys.carried('w1')],
  ['HSET', worker, 'epoch', '0', 'state', 'lost'],
];

const task: Task = { id: 'a', raw: 'a', queue: 0, copies: 1, delayMs: 0, outcome: 'result', attempts: 1 };
const life: Life = { worker: 'w1', pid: 9, end: 'outside', from: 0, to: 1_000 };

interface Story {
  readonly steps: readonly (readonly string[][])[];
  readonly ledger: string;
  readonly more?: Partial<Evidence>;
}

const clean: Story = {
  steps: [push, take('1-1'), settle('1-1', 'w1@9#1')],
  ledger: '10 begin 1 1 a\n20 end 1 ok\n',
};

function evidence({ steps, ledger, more = {} }: Story): Evidence {
  return {
    tasks: [task],
    custody: readCustody(parseAof(aof(steps)), keys),
    runs: parseLedger('w1@9', ledger),
    lives: [life],
    faults: [],
    results: new Map([['a', '{"run":"w1@9#1"}']]),
    dead: [],
    plain: [],
    leftovers: [],
    complaints: [],
    ...more,
  };
}

const kinds = (story: Story): string[] => check(evidence(story)).map(({ kind }) => kind);

test('a clean run has no violations', () => {
  expect(check(evidence(clean))).toEqual([]);
});

test('a task that was taken from a lost worker and run again is a repeat, and that is all', () => {
  const story: Story = {
    steps: [push, take('1-1'), fence, take('2-1'), settle('2-1', 'w1@9#2')],
    ledger: '10 begin 1 1 a\n15 end 1 aborted\n30 begin 2 1 a\n40 end 2 ok\n',
    more: { results: new Map([['a', '{"run":"w1@9#2"}']]) },
  };
  expect(check(evidence(story))).toEqual([]);
  expect([...repeats(evidence(story))]).toEqual([['a', 1]]);
});

test.each<[string, Story]>([
  ['lost', { ...clean, steps: [push, take('1-1')] }],
  ['lost', { ...clean, more: { results: new Map() } }],
  ['lost', { ...clean, more: { tasks: [task, { ...task, id: 'b', raw: 'b' }] } }],
  ['twice', { ...clean, steps: [...clean.steps, take('1-2'), settle('1-2', 'w1@9#1')] }],
  // its epoch was over, and what it held was taken away
  ['fenced write', { ...clean, steps: [push, take('1-1'), fence, settle('1-1', 'w1@9#1')] }],
  ['foreign result', { ...clean, steps: [push, take('1-1'), settle('1-1', 'w2@9#1')] }],
  ['foreign result', { ...clean, ledger: '10 begin 1 1 a\n20 end 1 failed\n' }],
  ['foreign result', { ...clean, more: { results: new Map([['a', 'by another']]) } }],
  ['undelivered run', { ...clean, ledger: `${clean.ledger}30 begin 2 1 a\n40 end 2 ok\n` }],
  ['repeat', { ...clean, ledger: `${clean.ledger}30 begin 2 1 a\n40 end 2 ok\n` }],
  ['killed busy', { ...clean, ledger: `${clean.ledger}30 begin 2 1 a\n` }],
  ['killed busy', { ...clean, ledger: `${clean.ledger}30 begin 2 1 a\n40 end 2 aborted\n` }],
  ['crash', { ...clean, more: { lives: [{ ...life, end: 'crashed' }] } }],
  ['wrong end', { ...clean, more: { tasks: [{ ...task, outcome: 'dead' }] } }],
  ['attempts', { ...clean, more: { tasks: [{ ...task, attempts: 2 }] } }],
  ['dead letter', { ...clean, more: { dead: [{ id: 'a', attempts: 1 }] } }],
  ['left over', { ...clean, more: { leftovers: ['the key x'] } }],
  ['client', { ...clean, more: { complaints: ['a client waited'] } }],
])('%s is found', (kind, story) => {
  expect(kinds(story)).toContain(kind);
});

/** What a server did that its successor never had. */
const forgot = (...steps: string[][][]): Partial<Evidence> => ({
  forgotten: readCustody(parseAof(aof(steps)), keys),
});

test.each<[string, Story]>([
  ['a push', { steps: [], ledger: '', more: { ...forgot(push), results: new Map() } }],
  // the task was still in the list of the server that took over, so another worker ran it
  [
    'a delivery and its result',
    {
      ...clean,
      ledger: '10 begin 1 1 a\n20 end 1 ok\n25 begin 2 1 a\n28 end 2 ok\n',
      more: forgot(take('0-1'), settle('0-1', 'w1@9#2')),
    },
  ],
  [
    'a registration, whose worker drops what it runs',
    {
      ...clean,
      ledger: '5 begin 2 1 a\n15 end 2 aborted\n16 begin 1 1 a\n20 end 1 ok\n',
      more: {
        ...forgot(take('0-1')),
        faults: [{ kind: 'forget', what: '', from: 8, to: 12, workers: 'all' }],
      },
    },
  ],
  [
    'a delivery, whose reply its worker read after the fault,',
    {
      ...clean,
      ledger: '13 begin 2 1 a\n15 end 2 aborted\n16 begin 1 1 a\n20 end 1 ok\n',
      more: {
        ...forgot(take('0-1')),
        faults: [{ kind: 'failover', what: '', from: 8, to: 12, workers: 'all' }],
      },
    },
  ],
])('%s that a server forgot is no violation', (_, story) => {
  expect(check(evidence(story))).toEqual([]);
});

test.each<[string, Story]>([
  ['lost', { steps: [], ledger: '', more: { ...forgot(take('0-1')), results: new Map() } }],
  ['repeat', { ...clean, ledger: `${clean.ledger}30 begin 2 1 a\n40 end 2 ok\n`, more: forgot(push) }],
])('%s is found beside what a server forgot', (kind, story) => {
  expect(kinds(story)).toContain(kind);
});

test('what a turn adds counts as pushed once, and what it gives up without an end as cancelled', () => {
  const spawns = [
    ...settle('1-1', 'w1@9#1'),
    ['LPUSH', 'q', 'b'],
    ['RPOP', 'q', '1'],
    ['HSET', inflight, '1-2', 'b'],
  ];
  const cancels = [
    ['HDEL', inflight, '1-2'],
    ['HSET', worker, 'turn', '3'],
  ];
  const custody = readCustody(parseAof(aof([push, take('1-1'), spawns, cancels])), keys);
  expect(custody.fates.get('b')).toEqual({ ...noFate, pushed: 1, delivered: 1, cancelled: 1 });
  const back = [...cancels, ['RPUSH', 'q', 'b']];
  const again = readCustody(parseAof(aof([push, take('1-1'), spawns, back])), keys);
  expect(again.fates.get('b')).toEqual({ ...noFate, pushed: 1, delivered: 1, returned: 1 });
});

test('what a plain worker took is its own', () => {
  const more = { plain: ['a'], results: new Map([['a', 'by a plain worker']]) };
  expect(check(evidence({ steps: [push, [['RPOP', 'q']]], ledger: '', more }))).toEqual([]);
});

test('recovery is measured from the death of a process to the next run of what it ran', () => {
  const run = (name: string, pid: number, begun: number): Run => {
    const ended = { at: begun + 5, how: 'ok' as const };
    return { name, worker: 'w1', pid, id: 'a', attempt: 1, begun, ended };
  };
  const cut = { ...run('cut', 1, 10), ended: undefined };
  const lives: Life[] = [{ ...life, pid: 1, end: 'killed', to: 100 }];
  const faults = [{ kind: 'kill', what: '', from: 90, to: 90, workers: ['w1'] }];
  const times = recoveryTimes({ runs: [cut, run('again', 2, 350)], lives, faults });
  expect([...times]).toEqual([['kill', [250]]]);
});

test('an append-only file that a kill cut off is read up to there; anything else is refused', () => {
  const whole = aof([push, take('1-1')]);
  expect(parseAof(whole)).toHaveLength(2);
  expect(parseAof(whole.subarray(0, whole.length - 5))).toHaveLength(1);
  expect(() => parseAof(Buffer.from('nonsense\r\n'))).toThrow(SyntaxError);
  expect(() => parseLedger('w1@9', 'nonsense\n')).toThrow(SyntaxError);
});

test('what a promoted replica did by itself is not taken for what it received', () => {
  const step = (text: string): Transaction => [text.split(' ').map((word) => Buffer.from(word))];
  const old = ['HSET a 1', 'HSET a 2', 'HSET a 3'].map(step);
  expect(inCommon(old, old)).toBe(3);
  expect(inCommon(old, [...old.slice(0, 2), step('DEL expired')])).toBe(2);
  expect(inCommon(old, [...old.slice(0, 1), step('DEL expired'), step('DEL another')])).toBe(1);
  expect(inCommon(old, [...old, step('DEL expired')])).toBe(3);
  expect(inCommon(old, [])).toBe(0);
});

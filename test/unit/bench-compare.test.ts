/** How `bench -- all` judges a run by a kept one. */
import { expect, test } from 'vitest';
import { compareRuns, Verdict, type Run } from '../../bench/report/compare.ts';
import { comparisonTable, figureTable, summaryLines } from '../../bench/report/comparison.ts';
import { parts, type Figure } from '../../bench/report/figures.ts';
import { keptText, parseKeptRun } from '../../bench/report/kept-run.ts';
import { createRandom, type Random } from '../chaos/random.ts';

/** A ratio to the limit: higher is better. */
const rate = (values: readonly number[], more: Partial<Figure> = {}): Figure => ({
  name: 'to the limit',
  unit: '',
  is: 'at least',
  values,
  ...more,
});
const cost = (values: readonly number[], more: Partial<Figure> = {}): Figure =>
  rate(values, { name: 'a task', unit: ' µs', is: 'at most', ...more });

const run = (figures: readonly Figure[], yardstickUs = [100, 100, 100]): Run => ({
  figures: { throughput: figures },
  yardstickUs,
});

test.for<[string, Figure, Figure, Verdict]>([
  ['equal', rate([0.6, 0.61, 0.6]), rate([0.6, 0.6, 0.61]), Verdict.Same],
  ['a tenth less, steady rounds', rate([0.54, 0.54, 0.54]), rate([0.6, 0.6, 0.6]), Verdict.Worse],
  ['a tenth more, steady rounds', rate([0.66, 0.66, 0.66]), rate([0.6, 0.6, 0.6]), Verdict.Better],
  ['4 % less, steady rounds', rate([0.576, 0.576, 0.576]), rate([0.6, 0.6, 0.6]), Verdict.Same],
  ['a tenth less, spread kept', rate([0.54, 0.54, 0.54]), rate([0.5, 0.6, 0.7]), Verdict.Same],
  ['a tenth less, spread now', rate([0.44, 0.54, 0.64]), rate([0.6, 0.6, 0.6]), Verdict.Same],
  ['half, some spread', rate([0.29, 0.3, 0.31]), rate([0.59, 0.6, 0.61]), Verdict.Worse],
  ['dearer', cost([4, 4.1, 4]), cost([3, 3.1, 3]), Verdict.Worse],
  ['cheaper', cost([3, 3.1, 3]), cost([4, 4.1, 4]), Verdict.Better],
  ['one round each, 4 %', cost([1.04]), cost([1]), Verdict.Same],
  ['one round each, 6 %', cost([1.06]), cost([1]), Verdict.Worse],
  ['one round now, within the kept spread', cost([1.2]), cost([0.9, 1, 1.1, 1.2, 0.8]), Verdict.Same],
  ['one round now, beyond it', cost([3]), cost([0.9, 1, 1.1, 1.2, 0.8]), Verdict.Worse],
  ['exact, half a percent', cost([2.01], { exact: true }), cost([2]), Verdict.Same],
  ['exact, two percent', cost([2.04], { exact: true }), cost([2]), Verdict.Worse],
  ['exact, from nothing', cost([1], { exact: true }), cost([0]), Verdict.Worse],
  ['from nothing, less than counts', cost([0.05], { exact: true, least: 0.1 }), cost([0]), Verdict.Same],
  ['less than counts', cost([80], { least: 10 }), cost([71]), Verdict.Same],
  ['nothing in both', cost([0], { exact: true }), cost([0]), Verdict.Same],
  ['not measured now', cost([]), cost([1]), Verdict.OnlyKept],
  ['not measured then', cost([1]), cost([]), Verdict.OnlyNow],
  ['no numbers now', cost([NaN, NaN]), cost([1, 1]), Verdict.OnlyKept],
  ['one number of three', cost([NaN, 1, NaN]), cost([1, 1, 1]), Verdict.Same],
])('%s', ([, now, kept, verdict]) => {
  expect(compareRuns(run([now]), run([kept])).map((row) => row.verdict)).toEqual([verdict]);
});

test.for<[string, Partial<Figure>, number[], Verdict]>([
  ['processor time on a machine that takes twice as much', { processorTime: true }, [200, 200], Verdict.Same],
  ['processor time on the same machine', { processorTime: true }, [100, 100], Verdict.Worse],
  ['memory, whatever the machine takes', {}, [200, 200], Verdict.Worse],
  ['without a yardstick', { processorTime: true }, [], Verdict.Worse],
])('twice as much: %s', ([, more, yardstickUs, verdict]) => {
  const [row] = compareRuns(run([cost([6, 6, 6], more)], yardstickUs), run([cost([3, 3, 3], more)]));
  expect(row?.verdict).toBe(verdict);
});

test('in another unit, it is another figure', () => {
  const rows = compareRuns(run([cost([3_000])]), run([cost([3], { unit: ' ms' })]));
  expect(rows.map(({ verdict }) => verdict)).toEqual([Verdict.OnlyNow, Verdict.OnlyKept]);
});

test('processor times are shown as this machine takes them, and what only one run has with its value', () => {
  const kept = run([cost([3], { processorTime: true }), rate([1], { name: 'gone' })], [50]);
  const now = run([rate([2], { name: 'new' }), cost([6], { processorTime: true })]);
  const rows = compareRuns(now, { ...kept, figures: { ...kept.figures, handlers: [rate([7])] } });
  expect(rows.map(({ bench, name, ...row }) => [bench, name, row.now, row.kept, row.verdict])).toEqual([
    ['throughput', 'new', 2, undefined, Verdict.OnlyNow],
    ['throughput', 'a task', 6, 6, Verdict.Same],
    ['throughput', 'gone', undefined, 1, Verdict.OnlyKept],
    ['handlers', 'to the limit', undefined, 7, Verdict.OnlyKept],
  ]);
});

/** Of a normal distribution, roughly: the sum of twelve. */
function rounds(random: Random, count: number, mean: number, deviation: number): number[] {
  const one = (): number => Array.from({ length: 12 }, () => random.real()).reduce((sum, x) => sum + x) - 6;
  return Array.from({ length: count }, () => mean + deviation * one());
}

test.for([3, 5, 7])('with %i rounds that spread by a tenth, equal builds seldom differ', (count) => {
  const random = createRandom(1, 'equal');
  const verdicts = Array.from({ length: 4_000 }, () => {
    const [now, kept] = [rounds(random, count, 1, 0.1), rounds(random, count, 1, 0.1)];
    return compareRuns(run([rate(now)]), run([rate(kept)]))[0]?.verdict;
  });
  const differ = verdicts.filter((verdict) => verdict !== Verdict.Same).length;
  // two in a thousand, either way
  expect(differ).toBeLessThan(20);
});

test('with five rounds that spread by 2 %, a build that is 15 % slower is seen', () => {
  const random = createRandom(1, 'slower');
  const verdicts = Array.from({ length: 1_000 }, () => {
    const [now, kept] = [rounds(random, 5, 0.85, 0.02), rounds(random, 5, 1, 0.02)];
    return compareRuns(run([rate(now)]), run([rate(kept)]))[0]?.verdict;
  });
  expect(verdicts.filter((verdict) => verdict === Verdict.Worse).length).toBeGreaterThan(990);
});

test('a comparison in words', () => {
  const blurred = rate([1, 2, 3], { name: 'to BullMQ' });
  const kept = run([
    rate([0.64, 0.64]),
    cost([3, 3]),
    cost([0], { name: 'late', unit: '%', least: 0.1 }),
    blurred,
  ]);
  const now = run([
    rate([0.5, 0.5], { goal: 0.8 }),
    cost([2.5, 2.5]),
    cost([0.05], { name: 'late', unit: '%', least: 0.1 }),
    blurred,
    cost([60, 61], { name: 'resident', unit: ' MB' }),
    cost([], { name: 'its own', unit: ' MB' }),
  ]);
  const rows = compareRuns(now, kept);
  expect(`${comparisonTable(rows)}\n${summaryLines(rows, '1a2b3c4')}`).toMatchInlineSnapshot(`
    "BENCHMARK   FIGURE        NOW      GOAL                  KEPT  CHANGE  SAME UP TO
    throughput  to the limit  0.5      at least 0.8, MISSED  0.64  -22 %   ±5 %        worse
    throughput  a task        2.5 µs                         3 µs  -17 %   ±5 %        better
    throughput  late          0.05%                          0%    +0.05%  ±0.1%       same
    throughput  to BullMQ     2                              2     0 %     ±370 %      same
    throughput  resident      60.5 MB                        -                         only in this run

    2 figures are the same as in 1a2b3c4
    1 figure is better than in 1a2b3c4:
      throughput: a task
    1 figure is only in this run:
      throughput: resident
    1 figure is measured with rounds that spread too much for a difference of a quarter to be seen: is this machine quiet?
    1 figure is WORSE than in 1a2b3c4, by more than the rounds of both explain:
      throughput: to the limit
    "
  `);
  expect(summaryLines([], '1a2b3c4')).toBe('no figure is worse\n');
  expect(figureTable(now.figures)).toMatchInlineSnapshot(`
    "BENCHMARK   FIGURE        NOW      GOAL
    throughput  to the limit  0.5      at least 0.8, MISSED
    throughput  a task        2.5 µs
    throughput  late          0.05%
    throughput  to BullMQ     2
    throughput  resident      60.5 MB
    throughput  its own       -
    "
  `);
});

const kept = { version: '0.1.0', commit: '1a2b3c4', node: 'v24.0.0', redis: 'redis-server 7.0.15' };
const whole = { ...kept, ...run([rate([1, 1.5], { goal: 0.8 }), cost([2])]) };

test.for([
  ['a file of --keep', keptText(whole)],
  ['what --json prints', `\n> bench\n> node bench/main.ts all --json\n\n${JSON.stringify(whole)}\n`],
] as const)('a kept run is read from %s', ([, text]) => {
  expect(parseKeptRun(text, 'out.json')).toEqual(whole);
});

test.for([
  ['nothing', ''],
  ['words', 'bench: failed'],
  ['another benchmark', JSON.stringify({ ...kept, bench: 'latency', clients: [] })],
  ['a list', '[]'],
  ['no yardstick', JSON.stringify({ ...whole, yardstickUs: undefined })],
  ['a commit that is none', JSON.stringify({ ...whole, commit: 7 })],
  ['figures without values', JSON.stringify({ ...whole, figures: { throughput: [{ name: 'x' }] } })],
  [
    'values that are no numbers',
    JSON.stringify({ ...whole, figures: { x: [{ name: 'x', values: ['1'] }] } }),
  ],
] as const)('no kept run: %s', ([, text]) => {
  expect(() => parseKeptRun(text, 'out.json')).toThrow(
    'out.json is no run of all benchmarks: make one with "npm run bench -- all --json > run.json"',
  );
});

test.for<[number, number, number[][]]>([
  [
    6,
    3,
    [
      [0, 1],
      [2, 3],
      [4, 5],
    ],
  ],
  [
    7,
    3,
    [
      [0, 1],
      [2, 3],
      [4, 5, 6],
    ],
  ],
  [2, 3, [[0], [1], []]],
  [0, 2, [[], []]],
])('%i values in %i parts', ([length, count, expected]) => {
  expect(parts([...Array(length).keys()], count)).toEqual(expected);
});

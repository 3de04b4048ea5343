/** From a pool's recorded history to a trace: what is kept, and how accurate it is. */
import { describe, expect, test } from 'vitest';
import { spanBetween, spansOf, startsOf } from '../../cli/commands/spans.ts';
import { beginStretch, entryOf, extendStretch, standingOf } from '../../controller/records/timeline.ts';
import type { PoolSample } from '../../queue/pool/pool-sample.ts';
import type { TimelineEntry } from '../../queue/pool/timeline.ts';
import { generate, usualShape } from '../../simulate/generate.ts';
import { createHistorian, type HistoryTask, type HistorySpan } from '../../simulate/history.ts';
import { workOf } from '../../simulate/trace.ts';
import { observation } from '../support/observations.ts';

function historyOf(spans: readonly HistorySpan[], running = 0): HistoryTask[] {
  const history = createHistorian({ running });
  return [...spans.flatMap((span) => history.add(span)), ...history.end()];
}
const span = (from: number, arrived: number, ended: number, serviceMs: number): HistorySpan => ({
  from: from * 1_000,
  to: (from + 1) * 1_000,
  arrived,
  ended,
  serviceMs,
});
const sum = (tasks: readonly HistoryTask[]): number =>
  tasks.reduce((total, [, service]) => total + service, 0);

test('tasks that end alone take what they took, in the order in which they came', () => {
  const tasks = historyOf([span(0, 3, 0, 0), span(1, 0, 1, 700), span(2, 0, 1, 100), span(3, 0, 1, 40)]);
  expect(tasks.map(([, service]) => service)).toEqual([700, 100, 40]);
  expect(tasks.every(([arrival]) => arrival >= 0 && arrival <= 1_000)).toBe(true);
});

test('tasks that were running at the beginning are not part of the history', () => {
  const tasks = historyOf([span(0, 1, 2, 9_000), span(1, 0, 1, 700)], 2);
  expect(tasks.map(([, service]) => service)).toEqual([700]);
});

test('unfinished tasks at the end get the mean; if none has finished, there is no history', () => {
  expect(historyOf([span(0, 3, 2, 1_000)]).map(([, service]) => service)).toEqual([500, 500, 500]);
  expect(historyOf([span(0, 3, 0, 0)])).toEqual([]);
});

test('tasks that arrived together arrive together', () => {
  const burst = {
    from: 0,
    to: 10_000,
    arrived: 60,
    peak: { tasks: 50, at: 4_000 },
    ended: 60,
    serviceMs: 60_000,
  };
  const near = historyOf([burst]).filter(([arrival]) => arrival >= 3_000 && arrival <= 4_000);
  expect(near.length).toBeGreaterThanOrEqual(50);
});

/** The timeline that a pool with enough slots would have of a trace. */
function timelineOf({
  arrivals,
  services,
}: {
  arrivals: Float64Array;
  services: Float64Array;
}): TimelineEntry[] {
  const entries: TimelineEntry[] = [];
  const seconds = Math.ceil((arrivals.at(-1) ?? 0) / 1_000) + 60;
  const perSecond = (): number[] => Array.from({ length: seconds }, () => 0);
  const [came, ended, took] = [perSecond(), perSecond(), perSecond()];
  const add = (to: number[], second: number, number: number): void => {
    to[second] = (to[second] ?? 0) + number;
  };
  for (const [i, arrival] of arrivals.entries()) {
    const service = services[i] ?? 0;
    add(came, Math.floor(arrival / 1_000), 1);
    const end = Math.min(Math.floor((arrival + service) / 1_000), seconds - 1);
    add(ended, end, 1);
    add(took, end, service);
  }
  for (let from = 0; from < seconds; from += 10) {
    let stretch = beginStretch(from * 1_000, standingOf(observation()));
    for (let second = from; second < from + 10; second++) {
      const seen = {
        arrived: came[second] ?? 0,
        completed: ended[second] ?? 0,
        serviceMs: took[second] ?? 0,
      };
      stretch = extendStretch(stretch, observation({ at: (second + 1) * 1_000, ...seen }));
    }
    const end = (from + 10) * 1_000;
    entries.push({ at: end, ...entryOf(stretch, end) });
  }
  return entries;
}

describe.each(['steady', 'onoff', 'heavy'] as const)('a timeline of a %s load', (kind) => {
  const trace = generate(kind, { ...usualShape, durationMs: 1_800_000 });
  const tasks = historyOf(spansOf(timelineOf(trace)));
  test('has all its tasks and all its work', () => {
    expect(tasks).toHaveLength(trace.arrivals.length);
    expect(sum(tasks) / workOf(trace)).toBeCloseTo(1, 2);
  });
  test('has them within ten seconds of when they came', () => {
    const arrivals = tasks.map(([arrival]) => arrival).toSorted((a, b) => a - b);
    const off = arrivals.map((arrival, i) => Math.abs(arrival - (trace.arrivals[i] ?? 0)));
    expect(Math.max(...off)).toBeLessThan(10_000);
  });
});

test('service times spread as they did, though only sums were seen', () => {
  const trace = generate('steady', { ...usualShape, durationMs: 7_200_000, rate: 5, variation: 0.8 });
  const tasks = historyOf(spansOf(timelineOf(trace)));
  const mean = sum(tasks) / tasks.length;
  const variation =
    Math.sqrt(tasks.reduce((total, [, ms]) => total + (ms - mean) ** 2, 0) / tasks.length) / mean;
  expect(variation).toBeGreaterThan(0.6);
  expect(variation).toBeLessThan(1);
});

describe('samples', () => {
  const sample = (now: number, waiting: number, taken: number, completed = 0): PoolSample =>
    ({
      now,
      waiting,
      counters: { taken, completed, failed: 0, retried: 0, cancelled: 0, serviceUs: completed * 5e5 },
    }) as PoolSample;
  test('what waits at the first one has come then', () =>
    expect(spanBetween(undefined, sample(7, 3, 9), 50, 0)).toEqual({
      span: { from: 50, to: 50, arrived: 3, ended: 0, serviceMs: 0 },
      owed: 0,
    }));
  test('what came and what ended since the last one', () =>
    expect(spanBetween(sample(0, 3, 9, 4), sample(100, 5, 11, 6), 1_100, 0)).toEqual({
      span: { from: 1_000, to: 1_100, arrived: 4, ended: 2, serviceMs: 1_000 },
      owed: 0,
    }));
  test('a task between the list and a turn has not come twice', () => {
    const between = spanBetween(sample(0, 1, 0), sample(100, 0, 0), 100, 0);
    expect(between).toMatchObject({ span: { arrived: 0 }, owed: 1 });
    expect(spanBetween(sample(100, 0, 0), sample(200, 0, 1), 200, between.owed)).toMatchObject({
      span: { arrived: 0 },
      owed: 0,
    });
  });
  test('an emptied Redis starts over', () =>
    expect(spanBetween(sample(0, 3, 9, 4), sample(100, 2, 0), 100, 0).span).toMatchObject({
      arrived: 2,
      ended: 0,
    }));
});

test('how long replicas took to start', () => {
  const entry = { at: 1, ...entryOf(beginStretch(0, standingOf(observation())), 1) };
  expect(startsOf([entry])).toBeUndefined();
  expect(
    startsOf([
      { ...entry, starts: 1, startMs: 4_000 },
      { ...entry, starts: 3, startMs: 6_000 },
    ]),
  ).toBe(2_500);
});

/** Our counting against that of prom-client itself: the same text for the same counts. */
import { text } from 'node:stream/consumers';
import { Counter, Histogram, Registry } from 'prom-client';
import { expect, test } from 'vitest';
import { createCounter, createHistogram, createMetrics } from '../../runtime/metrics.ts';

const strange = 'a "quoted" name,\nwith a \\ and a line break';
const bounds = [0.001, 0.5, 10];
const help = 'What it counts\nin \\ words.';

test.each([
  { what: 'nothing yet', values: [], outcomes: [] },
  {
    what: 'values at, between and beyond the bounds',
    values: [0, 0.001, 0.0011, 0.5, 9.99, 10, 11, 1e9],
    outcomes: ['result', 'retry', 'result'],
  },
])('the text of prom-client: $what', async ({ values, outcomes }) => {
  const registry = new Registry();
  const registers = [registry];
  const [labels, labelNames] = [{ queue: strange }, ['queue']];
  const theirs = {
    taken: new Counter({ name: 'taken_total', help, registers, labelNames }),
    finished: new Counter({ name: 'finished_total', help, registers, labelNames: ['queue', 'outcome'] }),
    service: new Histogram({ name: 'service_seconds', help, registers, labelNames, buckets: bounds }),
  };
  const ours = {
    taken: createCounter('taken_total', help),
    finished: createCounter('finished_total', help),
    service: createHistogram('service_seconds', help, bounds),
  };
  theirs.taken.inc(labels, 0);
  ours.taken.inc(labels, 0);
  theirs.service.zero(labels);
  const observe = ours.service.of(labels);
  for (const value of values) {
    theirs.service.observe(labels, value);
    observe(value);
    theirs.taken.inc(labels, 3);
    ours.taken.inc(labels, 3);
  }
  const ended = new Map(outcomes.map((outcome) => [outcome, { queue: strange, outcome }]));
  for (const outcome of outcomes) {
    theirs.finished.inc({ queue: strange, outcome });
    ours.finished.inc(ended.get(outcome) ?? {});
  }
  const source = createMetrics(Object.values(ours));
  expect(await text(source.text())).toBe(await registry.metrics());
  expect(source.contentType).toBe(registry.contentType);
});

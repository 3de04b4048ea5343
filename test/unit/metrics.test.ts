/** Our metrics against those of prom-client, which Prometheus is known to read: the same text for the same counts. */
import { Counter, Histogram, Registry } from 'prom-client';
import { expect, test } from 'vitest';
import {
  createCounter,
  createHistogram,
  createLabelledCounter,
  createMetrics,
} from '../../runtime/metrics.ts';

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
  registry.setDefaultLabels({ queue: strange });
  const registers = [registry];
  const theirs = {
    taken: new Counter({ name: 'taken_total', help, registers }),
    finished: new Counter({ name: 'finished_total', help, registers, labelNames: ['outcome'] }),
    service: new Histogram({ name: 'service_seconds', help, registers, buckets: bounds }),
  };
  const ours = {
    taken: createCounter('taken_total', help),
    finished: createLabelledCounter('finished_total', help, 'outcome'),
    service: createHistogram('service_seconds', help, bounds),
  };
  for (const value of values) {
    theirs.service.observe(value);
    ours.service.observe(value);
    theirs.taken.inc(3);
    ours.taken.inc(3);
  }
  for (const outcome of outcomes) {
    theirs.finished.inc({ outcome });
    ours.finished.inc(outcome);
  }
  const source = createMetrics({ queue: strange }, Object.values(ours));
  expect(await source.metrics()).toBe(await registry.metrics());
  expect(source.contentType).toBe(registry.contentType);
});

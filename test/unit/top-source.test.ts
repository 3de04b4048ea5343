import { expect, test } from 'vitest';
import { queueRow } from '../../cli/top/source.ts';
import type { QueueSample } from '../../queue/pool/sample.ts';

const sample = (counters: object): QueueSample =>
  ({ now: 0, waiting: 0, inFlight: 0, delayed: 0, dead: 0, workers: 3, busy: 1, counters }) as QueueSample;

test.each([
  ['four attempts, one result', { completed: 1, failed: 1, retried: 2, serviceUs: 8e6 }, '2000ms'],
  ['failures alone', { completed: 0, failed: 2, retried: 0, serviceUs: 1e6 }, '500ms'],
  ['nothing has ended yet', { completed: 0, failed: 0, retried: 0, serviceUs: 0 }, undefined],
  ['a sum without attempts', { completed: 0, failed: 0, retried: 0, serviceUs: 5e6 }, undefined],
])('what a task takes is the mean of all attempts: %s', (_, counters, service) => {
  const row = queueRow('q', sample(counters), undefined, undefined);
  expect(row.service).toBe(service);
  expect(JSON.stringify(row)).not.toMatch(/Infinity|NaN/);
  expect(JSON.stringify(row).includes('a task takes')).toBe(service !== undefined);
});

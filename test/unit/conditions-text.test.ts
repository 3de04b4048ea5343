import { expect, test } from 'vitest';
import { sentence } from '../../kube/conditions.ts';

test.each([
  ['it cannot be read', 'It cannot be read.'],
  ['redis, which is away', 'Redis, which is away.'],
  ["there's none!", "There's none!"],
  ['éclair', 'Éclair.'],
  // names stay as they are written
  ['spec.queue is missing', 'spec.queue is missing.'],
  ['crons[0].task: it is unique', 'crons[0].task: it is unique.'],
  ['maxReplicas decides', 'maxReplicas decides.'],
  ['redis://queue is away', 'redis://queue is away.'],
  ['"mail" is no list', '"mail" is no list.'],
])('%s', (text, whole) => {
  expect(sentence(text)).toBe(whole);
});

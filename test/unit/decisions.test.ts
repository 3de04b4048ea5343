/** Which decisions are kept, and in which form. */
import { expect, test } from 'vitest';
import {
  decisionAfter,
  isWorthABeginning,
  packDecision,
  parseDecision,
  type DecisionRecord,
} from '../../controller/records/decisions.ts';
import type { Observation } from '../../controller/observe/observation.ts';
import { observation } from '../support/observations.ts';

/** What a list would hold after these, newest first. */
function kept(looks: readonly Partial<Observation>[]): DecisionRecord[] {
  const list: DecisionRecord[] = [];
  for (const look of looks) {
    const { record, same } = decisionAfter(list[0], observation(look));
    if (same) list.shift();
    list.unshift(record);
  }
  return list;
}

test('a change stays; what only stands is one entry, in its last words', () => {
  const list = kept([
    { at: 1, scaled: { from: 0, to: 3 }, desired: 3, cause: 'ScaleUp', reason: '0→3' },
    { at: 2, wanted: 3, desired: 3, reason: '3: 9 waiting' },
    { at: 3, wanted: 3, desired: 3, cause: 'WithinWindow', reason: '3: 2 would do' },
    { at: 4, wanted: 3, desired: 3, reason: '3: 7 waiting' },
    { at: 5, wanted: 3, desired: 1, cause: 'ScaleDown', reason: '3→1: 2 draining' },
    { at: 6, wanted: 3, desired: 1, cause: 'ScaleDown', reason: '3→1: 1 draining' },
    { at: 7, wanted: 3, scaled: { from: 3, to: 2 }, desired: 1, cause: 'ScaleDown', reason: '3→2' },
    { at: 8, wanted: 2, scaled: { from: 2, to: 1 }, desired: 1, cause: 'ScaleDown', reason: '2→1' },
    { at: 9, wanted: 1, desired: 1, reason: '1: enough' },
  ]);
  expect(list.map(({ at, confirmedAt, from, to, reason }) => [at, confirmedAt, from, to, reason])).toEqual([
    [9, 9, 1, 1, '1: enough'],
    [8, 8, 2, 1, '2→1'],
    [7, 7, 3, 2, '3→2'],
    [5, 6, 3, 3, '3→1: 1 draining'],
    [2, 4, 3, 3, '3: 7 waiting'],
    [1, 1, 0, 3, '0→3'],
  ]);
});

test.each<[string, Partial<Observation>, boolean]>([
  ['at zero, nothing to do', {}, false],
  ['not read yet', { known: false, replicas: 3, desired: 3, cause: 'Unknown' }, false],
  ['tasks wait', { waiting: 1 }, true],
  ['replicas are there', { replicas: 1, desired: 1 }, true],
  ['fallback without ever having read it', { known: false, cause: 'Fallback', desired: 2 }, true],
])('the first entry of a pool: %s', (_, look, expected) =>
  expect(isWorthABeginning(observation(look))).toBe(expected),
);

test('comes back from its text, and nothing else does', () => {
  const [record] = kept([{ at: 5, reason: 'so' }]);
  expect(parseDecision(packDecision(record as DecisionRecord).text)).toEqual(record);
  for (const text of ['', 'null', '{}', '[1]', '{"reason":"x","at":1}'])
    expect(parseDecision(text)).toBeUndefined();
});

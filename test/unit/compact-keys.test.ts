/** The keys of a queue as a controller of thousands keeps them. */
import { expect, test } from 'vitest';
import { compactKeys } from '../../queue/compact-keys.ts';
import { queueKeys, resultApart, type QueueKeys } from '../../queue/keys.ts';
import { levelKeys } from '../../queue/priorities.ts';

const names = Object.keys(queueKeys('q', 'r')) as (keyof QueueKeys)[];
const namesIn = (keys: QueueKeys): string[] =>
  names.map((name) => {
    const key = keys[name];
    return typeof key === 'string' ? key : key.call(keys, 'an id');
  });

test.each([
  ['a queue', queueKeys('tiles', 'done')],
  ['one with a hash tag', queueKeys('{maps}:tiles', 'done')],
  ['one in which no tag can stand', queueKeys('a}b', 'done')],
  ['a priority, whose errors are those of its queue', levelKeys(queueKeys('tiles', 'done'), 'high')],
  ['one whose result hash is in another slot', resultApart(queueKeys('tiles', 'done'))],
])('are the same: %s', (_, keys) => {
  const compact = compactKeys(keys);
  expect(namesIn(compact)).toEqual(namesIn(keys));
  expect(namesIn(compactKeys(compact))).toEqual(namesIn(keys));
});

test('keep three texts, not one for each key', () => {
  expect(Object.keys(compactKeys(queueKeys('tiles', 'done')))).toEqual(['base', 'queue', 'result']);
});

import { expect, test } from 'vitest';
import { plural } from '../../runtime/plural.ts';

test.each([
  [0, 'task', undefined, '0 tasks'],
  [1, 'task', undefined, '1 task'],
  [2, 'task', undefined, '2 tasks'],
  [1, 'task waits', 'tasks wait', '1 task waits'],
  [3, 'task waits', 'tasks wait', '3 tasks wait'],
])('%i %s', (count, one, other, text) => {
  expect(plural(count, one, other)).toBe(text);
});

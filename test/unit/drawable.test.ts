import { expect, test } from 'vitest';
import { undrawable } from '../../cli/terminal/drawable.ts';

test.each([
  ['a terminal', { isTTY: true }, 'xterm', undefined],
  ['a file', {}, 'xterm', /none/],
  ['a terminal of plain text', { isTTY: true }, 'dumb', /"dumb"/],
  ['a terminal of no kind', { isTTY: true }, undefined, /not set/],
  ['a terminal of an empty kind', { isTTY: true }, '', /not set/],
])('%s', (_, output, term, why) => {
  const found = undrawable(output, term);
  if (why) expect(found).toMatch(why);
  else expect(found).toBeUndefined();
});

/** Commands that people copy from an output, whatever is in the names. */
import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { shellWord } from '../../runtime/shell-word.ts';

test.each([
  '',
  "it's",
  'a b',
  '$(touch gone)',
  '`id`',
  '-n',
  '~',
  'a\nb\t\u001B[31m',
  "\\'\u0007",
  'grün\u202Ex',
  '*?[a]',
  'a;b|c&d',
  '!!',
])('%j arrives as it is', (text) => {
  const word = shellWord(text);
  expect(word).not.toMatch(/[\p{Cc}\p{Cf}]/u);
  expect(execFileSync('bash', ['-c', `printf '%s' ${word}`], { env: { LC_ALL: 'C.UTF-8' } }).toString()).toBe(
    text,
  );
});

test('what needs no quotes has none', () => expect(shellWord('prod/tiles-1')).toBe('prod/tiles-1'));

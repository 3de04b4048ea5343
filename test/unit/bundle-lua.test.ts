import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { expect, test } from 'vitest';
import { compactLua, withTextWhenSent } from '../../scripts/bundle-lua.ts';

test.each([
  ['-- a comment\nreturn 1\n', '\nreturn 1\n'],
  ['do\n  local a = 1 -- why\n\n\tlocal b = 2  \nend', 'do\nlocal a = 1\n\nlocal b = 2\nend'],
  [`a('--', "--") -- 'b' "c"`, `a('--', "--")`],
  [String.raw`a('\'--', "\"--", '\\') --`, String.raw`a('\'--', "\"--", '\\')`],
  [`'a "' -- b\n"c '" -- d`, `'a "'\n"c '"`],
  ['a[b[1]] = 1 -- [b]', 'a[b[1]] = 1'],
])('%j is bundled as %j', (lua, compact) => {
  expect(compactLua(lua)).toBe(compact);
});

test.each(['[[', '[==[', '--[['])('a script with a long bracket, %s, is not bundled', (bracket) => {
  expect(() => compactLua(`return 1 ${bracket} a`)).toThrow(`long bracket ${bracket}`);
});

test('a script of ioredis that takes its text in another place is not bundled', () => {
  const ioredis = createRequire(import.meta.url).resolve('ioredis');
  const code = readFileSync(createRequire(ioredis).resolve('./Script.js'), 'utf8');
  expect(withTextWhenSent(code)).toMatch(/this\.args\[0\] = require\(".*lua\.ts"\)\.textOf\(lua\);/);
  expect(() => withTextWhenSent(code.replaceAll('= lua;', '= text;'))).toThrow('have changed');
});

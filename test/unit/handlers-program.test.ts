import { mkdtemp, writeFile, mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

import { afterAll, beforeAll, describe, expect, test } from 'vitest';

import { HandlerLoadError } from '../../worker/handlers/errors.ts';
import { findProgram } from '../../worker/handlers/program.ts';
import { splitLines } from '../../worker/handlers/split-lines.ts';
import { splitWords } from '../../worker/handlers/words.ts';

describe('splitWords', () => {
  test.each([
    ['', []],
    [' \t\n', []],
    ['run', ['run']],
    ['  run  a\tb\nc ', ['run', 'a', 'b', 'c']],
    [`run 'a b' "c d"`, ['run', 'a b', 'c d']],
    [`run '' ""`, ['run', '', '']],
    [`run a'b c'd"e"`, ['run', 'ab cde']],
    [String.raw`run a\ b \\ \"`, ['run', 'a b', '\\', '"']],
    [String.raw`run '\n' "\n" "\"" "\\" "\$x"`, ['run', '\\n', '\\n', '"', '\\', '$x']],
    [`run "it's" '"'`, ['run', "it's", '"']],
    ['run a\\\nb', ['run', 'ab']],
    [`run '|' ">" '$HOME' \\; '*'`, ['run', '|', '>', '$HOME', ';', '*']],
    ['run --size=3 ~/x {a,b} ü', ['run', '--size=3', '~/x', '{a,b}', 'ü']],
  ])('%j', (command, expected) => {
    expect(splitWords(command)).toEqual(expected);
  });

  test.each([
    [`run 'a`, "the quote ' is not closed"],
    [`run "a\\"`, 'the quote " is not closed'],
    ['run \\', 'the backslash at the end escapes nothing'],
    ['a | b', "| has no meaning without a shell: quote it, or use sh -c '…'"],
    ['a > b', "> has no meaning without a shell: quote it, or use sh -c '…'"],
    ['a && b', "& has no meaning without a shell: quote it, or use sh -c '…'"],
    ['a $HOME', "$ has no meaning without a shell: quote it, or use sh -c '…'"],
    ['a "$HOME"', "$ has no meaning without a shell: quote it, or use sh -c '…'"],
  ])('%j is refused', (command, error) => {
    expect(() => splitWords(command)).toThrow(new SyntaxError(error));
  });
});

describe('findProgram', () => {
  let directory: string;
  const file = (name: string): string => join(directory, name);

  beforeAll(async () => {
    directory = await mkdtemp(join(tmpdir(), 'millrace-program-'));
    await mkdir(file('bin'));
    await writeFile(file('run'), '#!/bin/sh\n', { mode: 0o755 });
    await writeFile(file('bin/run'), '#!/bin/sh -e\n', { mode: 0o755 });
    await writeFile(file('bin/plain'), 'no shebang', { mode: 0o755 });
    await writeFile(file('locked'), '#!/bin/sh\n', { mode: 0o644 });
    await writeFile(file('lost'), '#!/no/such/interpreter\n', { mode: 0o755 });
    await writeFile(file('windows'), '#!/bin/sh\r\necho\r\n', { mode: 0o755 });
    await writeFile(file('bin/half'), '#!/bin/sh\n', { mode: 0o644 });
    await writeFile(file('half'), '#!/bin/sh\n', { mode: 0o755 });
  });
  afterAll(() => rm(directory, { recursive: true }));

  const find = (command: string | string[], PATH = '/nowhere:bin') =>
    findProgram({ command, cwd: directory, env: { PATH } });

  test('by a path', async () => {
    expect(await find('./run a "b c"')).toEqual({ name: './run', file: file('run'), args: ['a', 'b c'] });
    expect(await find([file('run'), '|'])).toEqual({ name: file('run'), file: file('run'), args: ['|'] });
  });

  test('in PATH, the first that can be started', async () => {
    expect((await find('run')).file).toBe(file('bin/run'));
    expect((await find('plain')).file).toBe(file('bin/plain'));
    expect((await find('half', `bin:${directory}`)).file).toBe(file('half'));
  });

  test.each([
    ['', 'the command is empty: name a program, such as ./compute'],
    [
      'absent',
      'command absent is not in PATH: install it, or write its path (./absent for one in the working directory)',
    ],
    ['./absent', 'command ./absent does not exist: DIR/absent'],
    ['./locked', 'command ./locked is not executable: run chmod +x DIR/locked'],
    ['half', 'command half is not executable: run chmod +x DIR/bin/half'],
    ['./bin', 'command ./bin is not a program: DIR/bin is a directory'],
    ['/dev/null', 'command /dev/null is not a program: /dev/null is a special file'],
    ['./lost', 'command ./lost cannot start: its interpreter /no/such/interpreter does not exist'],
    [
      './windows',
      "command ./windows cannot start: it has Windows line endings; run sed -i 's/\\r$//' DIR/windows",
    ],
    ["run 'a", "command run 'a cannot be split into words: the quote ' is not closed"],
  ])('%j is refused', async (command, message) => {
    const error = await find(command).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(HandlerLoadError);
    expect(error).toHaveProperty('message', message.replaceAll('DIR', directory));
  });
});

describe('splitLines', () => {
  test.each([
    [[], []],
    [['a\nb\n'], ['a', 'b']],
    [['a', 'b', 'c\n'], ['abc']],
    [['a\n\nb'], ['a', '', 'b']],
    [
      ['a\r\nb\r', '\nc'],
      ['a', 'b', 'c'],
    ],
    [['\n'], ['']],
  ])('%j', (chunks, lines) => {
    expect(split(chunks)).toEqual(lines);
  });

  test('a line over the limit is reported once, and the next one is complete', () => {
    expect(split(['abcdef', 'ghi', 'j\nxy\n'], 4)).toEqual(['long:abcd', 'xy']);
    expect(split(['abcd\nabcde\n'], 4)).toEqual(['abcd', 'long:abcd']);
  });
});

function split(chunks: string[], max = 1000): string[] {
  const seen: string[] = [];
  const lines = splitLines(
    max,
    (line) => seen.push(line.toString()),
    (start) => seen.push(`long:${start.toString()}`),
  );
  for (const chunk of chunks) lines.push(Buffer.from(chunk));
  lines.end();
  return seen;
}

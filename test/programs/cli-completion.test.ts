/** Completion in real shells: the result of a Tab. */
import { execFile } from 'node:child_process';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { millrace, MILLRACE } from '../support/millrace.ts';
import { openTerminal } from '../support/terminal.ts';

const run = promisify(execFile);
let folder: string;
let env: NodeJS.ProcessEnv;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'millrace-completion-'));
  const program = join(folder, 'millrace');
  await writeFile(program, `#!/bin/sh\nexec '${process.execPath}' '${MILLRACE}' "$@"\n`);
  await chmod(program, 0o755);
  env = { PATH: `${folder}:${process.env['PATH']}`, HOME: folder };
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('bash, at a prompt', async () => {
  await using terminal = await openTerminal({ columns: 80, lines: 24 }, 'PS1="> " exec bash --norc', env);
  await terminal.press('source <(millrace completion bash)', 'Enter');
  await terminal.press('echo ready', 'Enter');
  await terminal.shows(/\nready\n/);
  await terminal.press('millrace ins', 'Tab');
  await terminal.shows(/millrace inspect\s*\n/);
  await terminal.press('--outp', 'Tab');
  await terminal.shows(/inspect --output\s*\n/);
  await terminal.press('y', 'Tab');
  await terminal.shows(/--output yaml\s*\n/);
});

test('zsh, at a prompt', async () => {
  await using terminal = await openTerminal({ columns: 80, lines: 24 }, 'exec zsh -f', env);
  await terminal.press(
    'autoload -U compinit; compinit -D; source <(millrace completion zsh); echo ready',
    'Enter',
  );
  await terminal.shows(/\nready\n/);
  await terminal.press('millrace dea', 'Tab');
  await terminal.shows(/millrace dead\s*\n/);
  await terminal.press('re', 'Tab');
  await terminal.shows(/millrace dead requeue\s*\n/);
});

test('fish, with what each command is for', async () => {
  const line = "millrace completion fish | source; complete -C 'millrace dead '";
  const { stdout } = await run('fish', ['--no-config', '-c', line], { env });
  expect(stdout).toMatch(/^list\tlist dead letters, newest first\n/m);
  expect(stdout).toMatch(/^requeue\tput tasks back/m);
});

test('what the shells ask: commands, flags, values; never a failure', async () => {
  const ask = async (...words: string[]): Promise<string[]> => {
    const { code, stdout, stderr } = await millrace(['complete', '--', ...words], { env: { HOME: folder } });
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    return stdout.split('\n').map((text) => text.split('\t')[0] ?? '');
  };
  const [commands, nested, flags, value, taken, pools] = await Promise.all([
    ask(''),
    ask('dead', 'l'),
    ask('dead', 'requeue', '--old'),
    ask('pools', '-o', 'w'),
    ask('enqueue', '--queue', 'dead', '--del'),
    ask('inspect', ''),
  ]);
  expect(commands).toEqual(expect.arrayContaining(['dev', 'enqueue', 'top', 'doctor', 'version']));
  expect(commands).not.toContain('complete');
  expect([nested, flags, value, taken, pools]).toEqual([
    ['list', ''],
    ['--older-than', ''],
    ['wide', ''],
    ['--delay', ''],
    [''],
  ]);
});

/**
 * Finds the program of a command once, when the handler is opened, and reports in one line what is wrong with it: a worker that
 * fails at its start is noticed immediately, one that fails every task costs the tasks.
 */
import { access, constants, open, stat } from 'node:fs/promises';
import { delimiter, join, resolve } from 'node:path';
import { HandlerLoadError } from './errors.ts';
import { splitWords } from './words.ts';

export interface Program {
  /** The first word as the user wrote it, used in error messages. */
  readonly name: string;
  /** The absolute path that is started. */
  readonly file: string;
  readonly args: readonly string[];
}

export interface ProgramSource {
  /** A command line, quoted as for a shell, or its words. */
  readonly command: string | readonly string[];
  /** What a relative path is relative to. */
  readonly cwd: string;
  /** Where `PATH` is read from. */
  readonly env: NodeJS.ProcessEnv;
}

/** Throws `HandlerLoadError` when the command names no program that can be started. */
export async function findProgram({ command, cwd, env }: ProgramSource): Promise<Program> {
  const [name, ...args] = words(command);
  if (name === undefined || name === '') {
    throw new HandlerLoadError('the command is empty: name a program, such as ./compute');
  }
  const candidates = name.includes('/')
    ? [resolve(cwd, name)]
    : (env['PATH'] ?? '').split(delimiter).map((directory) => resolve(cwd, join(directory, name)));
  let problem: string | undefined;
  for (const file of candidates) {
    const found = await whyNotStartable(file);
    if (found === undefined) return { name, file, args };
    // like a shell, prefers a later program that can be started to an earlier one that cannot
    if (found !== ABSENT) problem ??= found;
  }
  throw new HandlerLoadError(`command ${name} ${problem ?? notFound(name, candidates)}`);
}

function words(command: string | readonly string[]): readonly string[] {
  if (typeof command !== 'string') return command;
  try {
    return splitWords(command);
  } catch (cause) {
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new HandlerLoadError(`command ${command} cannot be split into words: ${reason}`, { cause });
  }
}

function notFound(name: string, candidates: readonly string[]): string {
  return name.includes('/')
    ? `does not exist: ${candidates[0]}`
    : `is not in PATH: install it, or write its path (./${name} for one in the working directory)`;
}

const ABSENT = Symbol('no such file');

async function whyNotStartable(file: string): Promise<string | typeof ABSENT | undefined> {
  const found = await stat(file).catch(() => undefined);
  if (found === undefined) return ABSENT;
  if (!found.isFile())
    return `is not a program: ${file} is a ${found.isDirectory() ? 'directory' : 'special file'}`;
  const executable = await access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
  if (!executable) return `is not executable: run chmod +x ${file}`;
  return await whyNotInterpretable(file);
}

/**
 * The kernel reports a missing interpreter as if the script itself were missing. The usual cause is a Windows line ending after
 * `#!/bin/sh`.
 */
async function whyNotInterpretable(file: string): Promise<string | undefined> {
  const interpreter = await interpreterOf(file);
  if (interpreter === undefined) return undefined;
  const there = await stat(interpreter.trimEnd()).catch(() => undefined);
  if (there === undefined) return `cannot start: its interpreter ${interpreter.trimEnd()} does not exist`;
  if (interpreter.endsWith('\r')) {
    return `cannot start: it has Windows line endings; run sed -i 's/\\r$//' ${file}`;
  }
  return undefined;
}

async function interpreterOf(file: string): Promise<string | undefined> {
  let head: string;
  try {
    await using handle = await open(file);
    const { buffer, bytesRead } = await handle.read(Buffer.alloc(256), 0, 256, 0);
    head = buffer.toString('utf8', 0, bytesRead);
  } catch {
    return undefined; // a program may be executable without being readable
  }
  return /^#![ \t]*([^ \t\n]+)/.exec(head)?.[1];
}

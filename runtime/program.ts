/**
 * What the three programs do alike: parse flags with commander, end with a written-down exit code, and say what went
 * wrong in one line. Exit codes: 0 done, 1 failed, 2 the command line (or the environment) was wrong.
 */
import { Command, CommanderError, InvalidArgumentError, Option } from 'commander';
import { parseBytes } from './bytes.ts';
import { parseDuration } from './duration.ts';
import { failurePrefix } from './failure-line.ts';
import { printable } from './plain-text.ts';

/** Wrong usage: exit code 2. The message is for the person who typed it. */
export class UsageError extends Error {
  override name = 'UsageError';
}

/** A command that throws instead of ending the process, and does not print usage errors itself. */
export function createProgram(name: string, version: string): Command {
  return strict(new Command(name).version(version));
}

/** The same manners for a subcommand, which commander does not hand down by itself. */
export function strict(command: Command): Command {
  return command
    .exitOverride()
    .configureOutput({ writeErr: () => undefined })
    .showSuggestionAfterError(true);
}

/** Runs `main` and sets the exit code; prints one line about what failed. */
export async function runProgram(name: string, main: () => Promise<void>): Promise<void> {
  try {
    await main();
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0) return; // --help, --version
    const usage = error instanceof CommanderError || error instanceof UsageError;
    process.exitCode = usage ? 2 : 1;
    process.stderr.write(`${failurePrefix(name)}${oneLine(error)}${usage ? ` (see ${name} --help)` : ''}\n`);
  }
}

function oneLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return (
    printable(message.replace(/^error: /, '').replaceAll(/\s*\n\s*/g, ' ')).trim() ||
    'it failed without saying why'
  );
}

/** What people write for yes and for no, by lower case. */
const SWITCH = new Map([
  ['true', true],
  ['1', true],
  ['on', true],
  ['yes', true],
  ['false', false],
  ['0', false],
  ['off', false],
  ['no', false],
]);

/**
 * Reads the variables of a program before commander does, which takes any text for a switch that is on, "false" too, and an
 * empty one for a value. An empty variable counts as not set, and so does a switch that says no: they are taken out of `env`. Throws
 * `UsageError` for a switch that says neither. Each command reads those of its own options, when it is called.
 */
export function withEnvironment(command: Command, env: NodeJS.ProcessEnv): Command {
  for (const { envVar, required, optional } of command.options) {
    const text = envVar === undefined ? undefined : env[envVar]?.trim().toLowerCase();
    if (envVar === undefined || text === undefined) continue;
    const isSwitch = !required && !optional;
    const on = isSwitch && text !== '' ? SWITCH.get(text) : text !== '';
    if (on === undefined) throw new UsageError(`${envVar} must be true or false`);
    if (!on) delete env[envVar];
  }
  return command.hook('preSubcommand', (_, called) => void withEnvironment(called, env));
}

/** `on` or `off`, in any of the ways in which people write that. */
export function onOff(text: string): 'on' | 'off' {
  const on = SWITCH.get(text.trim().toLowerCase());
  if (on === undefined) throw new InvalidArgumentError('It must be on or off.');
  return on ? 'on' : 'off';
}

/** An option that an environment variable gives, too. */
export function option(flags: string, description: string, variable: string): Option {
  return new Option(flags, description).env(variable);
}

/** Argument parsers for commander; each refuses a bad value in words. */
export function integer(min: number, max = Number.MAX_SAFE_INTEGER): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(
      `It must be a whole number from ${min}${max < Number.MAX_SAFE_INTEGER ? ` to ${max}` : ''}.`,
    );
  };
}

/** A Go-style duration, as ms. */
export function duration(text: string): number {
  try {
    return parseDuration(text);
  } catch (error) {
    throw new InvalidArgumentError((error as Error).message);
  }
}

/** A time such as `2026-03-29T08:00:00Z`, as ms since the epoch. */
export function instant(text: string): number {
  const at = /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(at)) throw new InvalidArgumentError('Write a time such as 2026-03-29T08:00:00Z.');
  return at;
}

/** A number of bytes as Kubernetes writes it, `16Mi` or `1048576`. */
export function bytes(max: number): (text: string) => number {
  return (text) => {
    try {
      return parseBytes(text, max);
    } catch (error) {
      throw new InvalidArgumentError((error as Error).message);
    }
  };
}

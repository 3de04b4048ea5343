/** Completions at the cursor, derived from the commands; the shells' scripts request them at each Tab. Pure. */
import type { Command, Option } from 'commander';

export interface Candidate {
  readonly text: string;
  readonly about: string;
}

/** Candidates, or `pools` for names of pools, which come from the cluster. */
export type Completion = readonly Candidate[] | 'pools';

/** `words`: after the program's name; the last one is under the cursor, and may be empty or incomplete. */
export function complete(program: Command, words: readonly string[]): Completion {
  const before = words.slice(0, -1);
  const current = words.at(-1) ?? '';
  let command = program;
  let position = 0;
  let awaited: Option | undefined;
  for (const word of before) {
    if (awaited) {
      awaited = undefined;
      continue;
    }
    if (word.startsWith('-')) {
      const known = [...command.options, ...program.options];
      const option = known.find(({ short, long }) => word === short || word === long);
      awaited = option?.required ? option : undefined;
      continue;
    }
    const inner = command.commands.find((one) => one.name() === word);
    if (inner) [command, position] = [inner, 0];
    else position++;
  }
  const found = awaited
    ? valuesOf(awaited)
    : current.startsWith('-')
      ? optionsOf(command)
      : wordsOf(command, position);
  return found === 'pools' ? found : found.filter(({ text }) => text.startsWith(current));
}

function valuesOf({ long, argChoices, flags }: Option): Completion {
  if (long === '--pool' && flags.includes('<name>')) return 'pools';
  return (argChoices ?? []).map((text) => ({ text, about: '' }));
}

function optionsOf(command: Command): Candidate[] {
  const help = command.createHelp();
  return [...help.visibleOptions(command), ...help.visibleGlobalOptions(command)].flatMap(
    ({ long, description }) => (long ? [{ text: long, about: description }] : []),
  );
}

function wordsOf(command: Command, position: number): Completion {
  if (command.commands.length > 0 && position === 0)
    return command
      .createHelp()
      .visibleCommands(command)
      .map((one) => ({ text: one.name(), about: one.description() }));
  const argument = command.registeredArguments[position];
  if (argument?.name() === 'pool') return 'pools';
  return (argument?.argChoices ?? []).map((text) => ({ text, about: '' }));
}

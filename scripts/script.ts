/** Scripts as programs: `--help` describes one, and an unknown argument ends it with exit code 2 before it has done anything. */
import type { Command } from 'commander';
import { createProgram, runProgram } from '../runtime/program.ts';
import { version } from '../runtime/version.ts';

/**
 * Parses the command line and runs `main` with the option that a script may have, `--check`, and its arguments; a failure is one
 * line on stderr and exit code 1.
 * @param file name of the script in this folder.
 * @param declare adds the options and arguments that it takes; none by default.
 */
export async function runScript(
  file: string,
  description: string,
  main: (options: { readonly check?: true }, ...args: string[]) => unknown,
  declare: (program: Command) => unknown = () => undefined,
): Promise<void> {
  const name = `scripts/${file}`;
  await runProgram(name, async () => {
    const program = createProgram(name, version).description(description).usage('[options]');
    declare(program);
    program.parse();
    await main(program.opts(), ...program.args);
  });
}

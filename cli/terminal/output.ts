/** How a command prints its output: a table for people, JSON or YAML for programs. */
import { Option } from 'commander';

export const outputs = ['table', 'json', 'yaml'] as const;
export type Output = (typeof outputs)[number];

/** `-o`; `more`: formats that only this command has. */
export function outputOption(...more: string[]): Option {
  return new Option('-o, --output <format>', 'output format').choices([...outputs, ...more]).default('table');
}

/** Prints `value` as a whole, or the table. */
export async function print(output: string, value: unknown, table: () => string): Promise<void> {
  process.stdout.write(await rendered(output, value, table));
}

async function rendered(output: string, value: unknown, table: () => string): Promise<string> {
  if (output === 'json') return `${JSON.stringify(value, undefined, 2)}\n`;
  if (output !== 'yaml') return table();
  const { stringify } = await import('yaml');
  // through JSON, so that both formats omit the same fields
  return stringify(JSON.parse(JSON.stringify(value)), { lineWidth: 0 });
}

let failed = false;

/** Whether nobody reads what this process prints any more. */
export function outputFailed(): boolean {
  return failed;
}

/**
 * Ends the process when its output cannot be written any more: silently where its reader has closed it, as in `millrace … | head`. A command
 * that has to clean up listens to signals, and gets one.
 */
export function watchOutput(): void {
  process.stdout.on('error', (error: NodeJS.ErrnoException) => {
    if (failed) return;
    failed = true;
    if (error.code !== 'EPIPE') {
      process.stderr.write(`millrace: the output cannot be written: ${error.message}\n`);
      process.exitCode = 1;
    }
    if (!process.emit('SIGTERM', 'SIGTERM')) process.exit();
  });
}

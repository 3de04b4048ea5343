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

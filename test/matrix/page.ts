/** The table of docs/servers.md, from the outcomes. */
import { withTable } from '../../scripts/generated.ts';
import type { Outcome } from './outcome.ts';
import { servers, type MatrixServer } from './servers.ts';

/** The text of docs/servers.md with the table of these outcomes. */
export function pageOf(text: string, outcomes: readonly Outcome[]): string {
  const rows = outcomes.map(({ server, version, date, passed, differences, reasons }) => {
    const known = servers.find(({ name }) => name === server);
    const tests = `${passed} of ${passed + differences}`;
    return `| ${version} | ${known ? sourceOf(known) : server} | ${tests} | ${reasons.join('; ') || 'nothing'} | ${date} |`;
  });
  const head = ['| server | from | tests passed | what differs | on |', '| --- | --- | --- | --- | --- |'];
  return withTable('docs/servers.md', text, 'servers', [...head, ...rows].join('\n'));
}

function sourceOf({ from }: MatrixServer): string {
  if (from.kind === 'system') return "the system's";
  return from.kind === 'pypi' ? `PyPI, \`${from.requirement}\`` : `Debian ${from.suite}`;
}

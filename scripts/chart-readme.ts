/**
 * Writes the table of values in the chart's README from `values.yaml` and its comments. With `--check` it writes nothing and
 * fails when the README is not what it would write.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { isMap, isScalar, parseDocument, type Pair, type Scalar, type YAMLMap } from 'yaml';
import { withTable, runGenerator } from './generated.ts';

const CHART = join(import.meta.dirname, '../charts/millrace');
const FILE = 'charts/millrace/README.md';

interface Row {
  readonly path: string;
  readonly value: string;
  readonly about: string;
}

function rowsOf(map: YAMLMap, under: string, before = ''): Row[] {
  return map.items.flatMap((item, i): Row[] => {
    const { key, value } = item as Pair<Scalar<string>, YAMLMap | Scalar>;
    // the comment of a map's first key is attached to the map
    const comment = [key.commentBefore, i === 0 ? map.commentBefore : undefined]
      .filter((text) => text !== undefined && text !== null)
      .join('\n');
    // the comment of a map is shown with its first value
    const about = oneLine(comment) || (i === 0 ? before : '');
    const path = `${under}${key.value}`;
    if (!isMap(value) || value.items.length === 0 || path.endsWith('.labels')) {
      const text = isScalar(value) ? JSON.stringify(value.value) : JSON.stringify(value);
      return [{ path, value: text, about }];
    }
    return rowsOf(value, `${path}.`, about);
  });
}

/** The last paragraph of a comment, which is the one about the key. */
function oneLine(comment: string): string {
  return (comment.split(/\n\s*\n/).at(-1) ?? '').replaceAll(/\s*\n\s*/g, ' ').trim();
}

/** The README with its current table. Throws `Error` if it has no place for it. */
export function withValues(text: string): string {
  const { contents } = parseDocument(readFileSync(join(CHART, 'values.yaml'), 'utf8'));
  const rows = rowsOf(contents as unknown as YAMLMap, '').map(
    ({ path, value, about }) => `| \`${path}\` | \`${value}\` | ${about.replaceAll('|', String.raw`\|`)} |`,
  );
  const table = ['| value | default | what |', '| --- | --- | --- |', ...rows].join('\n');
  return withTable(FILE, text, 'values', table);
}

if (import.meta.main)
  await runGenerator('chart-readme.ts', {
    description: "Writes the table of values in the chart's README.",
    source: 'values.yaml',
    command: 'npm run docs',
    documents: () => ({ [FILE]: withValues(readFileSync(join(CHART, 'README.md'), 'utf8')) }),
  });

/**
 * Writes the table of values in the chart's README from `values.yaml` and its comments. With `--check` it writes nothing and
 * fails when the README is not what it would write.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process, { argv, stderr } from 'node:process';
import { isMap, isScalar, parseDocument, type Pair, type Scalar, type YAMLMap } from 'yaml';

const CHART = join(import.meta.dirname, '../charts/millrace');
const FILE = join(CHART, 'README.md');

interface Row {
  readonly path: string;
  readonly value: string;
  readonly about: string;
}

function rowsOf(map: YAMLMap, under: string, before = ''): Row[] {
  return map.items.flatMap((item, i): Row[] => {
    const { key, value } = item as Pair<Scalar<string>, YAMLMap | Scalar>;
    // the comment before the first key of a map stands before the map
    const comment = [key.commentBefore, i === 0 ? map.commentBefore : undefined]
      .filter((text) => text !== undefined && text !== null)
      .join('\n');
    // what is said of a map is told with the first value in it
    const about = oneLine(comment) || (i === 0 ? before : '');
    const path = `${under}${key.value}`;
    if (!isMap(value) || value.items.length === 0 || path.endsWith('.labels')) {
      const text = isScalar(value) ? JSON.stringify(value.value) : JSON.stringify(value);
      return [{ path, value: text, about }];
    }
    return rowsOf(value, `${path}.`, about);
  });
}

/** The last paragraph of a comment, as the one that is about the key. */
function oneLine(comment: string): string {
  return (comment.split(/\n\s*\n/).at(-1) ?? '').replaceAll(/\s*\n\s*/g, ' ').trim();
}

/** The README with its table as it should be. Throws when it has no place for it. */
export function withValues(text: string): string {
  const { contents } = parseDocument(readFileSync(join(CHART, 'values.yaml'), 'utf8'));
  const rows = rowsOf(contents as unknown as YAMLMap, '').map(
    ({ path, value, about }) => `| \`${path}\` | \`${value}\` | ${about.replaceAll('|', String.raw`\|`)} |`,
  );
  const table = ['| value | default | what |', '| --- | --- | --- |', ...rows].join('\n');
  const place = /(<!-- values: .*? -->\n)[^]*?(\n<!-- end -->)/;
  if (!place.test(text)) throw new Error("the chart's README has no place for the table of values");
  return text.replace(place, (_, begin: string, end: string) => `${begin}\n${table}\n${end}`);
}

if (import.meta.main) {
  const before = readFileSync(FILE, 'utf8');
  const after = withValues(before);
  if (!argv.includes('--check')) writeFileSync(FILE, after);
  else if (after !== before) {
    stderr.write('charts/millrace/README.md is not what values.yaml says; run npm run docs\n');
    process.exitCode = 1;
  }
}

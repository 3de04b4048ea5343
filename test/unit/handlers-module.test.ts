import { execFile } from 'node:child_process';
import { mkdtemp, rm, writeFile, mkdir } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';

import { afterAll, beforeAll, expect, test } from 'vitest';

const FILES = {
  'ok.mjs': 'export default (task, { attempt }) => `${task} ${attempt}`;',
  'ok.ts': 'export default async (task: string): Promise<string> => `${task} in TypeScript`;',
  'ok.js': 'module.exports = (task) => `${task} in CommonJS`;',
  'compiled.cjs': 'exports.__esModule = true; exports.default = (task) => `${task} compiled`;',
  'with space #1.mjs': 'export default () => "found";',
  'syntax.mjs': 'const a = 1;\nconst b = ;\nexport default () => a;\n',
  'syntax.ts': 'const a: number = 1;\nconst = a;\n',
  'enum.ts': 'const a = 1;\nexport enum Colour { Red }\nexport default () => a;\n',
  'throws.mjs': '\n\nthrow new TypeError("no database\\nsecond line");\n',
  'throws-text.mjs': 'throw "just text";',
  'imports-throws.mjs': 'import "./throws.mjs"; export default () => 1;',
  'missing-import.mjs': 'import "not-installed-anywhere"; export default () => 1;',
  'named.mjs': 'export const handler = () => 1;',
  'object.mjs': 'export default { run() {} };',
  'nothing.mjs': 'export default null;',
  'data.json': '{}',
} as const;

const ABSENT = { directory: 'directory.mjs', file: 'missing.ts' };

let directory: string;
let outcomes: Map<string, { result?: unknown; error?: string; hasCause?: boolean }>;

beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), 'millrace-modules-'));
  await mkdir(join(directory, ABSENT.directory));
  await Promise.all(Object.entries(FILES).map(([name, text]) => writeFile(join(directory, name), text)));
  const script = new URL('../fixtures/try-modules.ts', import.meta.url).pathname;
  const names = [...Object.keys(FILES), ...Object.values(ABSENT)];
  const { stdout } = await promisify(execFile)(process.execPath, [script, ...names], { cwd: directory });
  const lines = stdout.trim().split('\n');
  outcomes = new Map(lines.map((line) => JSON.parse(line)).map(({ path, ...rest }) => [path, rest]));
});

afterAll(() => rm(directory, { recursive: true }));

test.each([
  ['ok.mjs', 't 2'],
  ['ok.ts', 't in TypeScript'],
  ['ok.js', 't in CommonJS'],
  ['compiled.cjs', 't compiled'],
  ['with space #1.mjs', 'found'],
])('%s is a handler', (name, result) => {
  expect(outcomes.get(name)).toEqual({ result });
});

test.each([
  ['syntax.mjs', "does not load (line 2): SyntaxError: Unexpected token ';'"],
  ['throws.mjs', 'does not load (line 3): TypeError: no database'],
  ['throws-text.mjs', 'does not load: just text'],
  ['named.mjs', 'has no default export: write `export default async (task, context) => result`'],
  [
    'object.mjs',
    'has a default export that is an object: write `export default async (task, context) => result`',
  ],
  [
    'nothing.mjs',
    'has a default export that is null: write `export default async (task, context) => result`',
  ],
  ['data.json', 'has the wrong extension: use one of .ts .mts .cts .js .mjs .cjs'],
])('%s %s', (name, error) => {
  expect(outcomes.get(name)?.error).toBe(`module ${name} ${error}`);
});

test.each([
  ['syntax.ts', /^module syntax\.ts does not load \(line 2\): SyntaxError: \S.*$/],
  ['enum.ts', /^module enum\.ts does not load \(line 2\): SyntaxError: .*enum is not supported/],
  [
    'imports-throws.mjs',
    /^module imports-throws\.mjs does not load \(.*\/throws\.mjs, line 3\): TypeError: no database$/,
  ],
  [
    'missing-import.mjs',
    /^module missing-import\.mjs does not load.*: Error: Cannot find package 'not-installed-anywhere'/,
  ],
  ['missing.ts', /^module missing\.ts does not exist: \/.*\/missing\.ts$/],
  ['directory.mjs', /^module directory\.mjs is not a file: name the file inside \/.*$/],
])('%s is refused in one line with the place', (name, error) => {
  expect(outcomes.get(name)?.error).toMatch(error);
  expect(outcomes.get(name)?.error).not.toContain('\n');
});

test('an error while loading is kept as the cause', () => {
  expect(outcomes.get('throws.mjs')?.hasCause).toBe(true);
  expect(outcomes.get('missing.ts')?.hasCause).toBe(true);
});

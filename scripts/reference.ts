/**
 * Writes docs/reference/: fields of a WorkerPool from its definition, flags and environment variables from each program's
 * --help, Redis keys from queue/keys.ts and its comments. With `--check` it writes nothing and fails when a file is
 * not what it would write, so that none is edited by hand.
 */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { promisify } from 'node:util';
import { parse } from 'yaml';
import { queueKeys } from '../queue/keys.ts';
import { runGenerator } from './generated.ts';
import type { CrdSchema } from './schema.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '..');
const FOLDER = 'docs/reference';

const page = (title: string, from: string, body: readonly string[]): string =>
  [`# ${title}`, '', `Written by \`npm run docs\` from ${from}; never edited by hand.`, '', ...body, ''].join(
    '\n',
  );

const cell = (text: string): string => text.replaceAll(/\s+/g, ' ').trim().replaceAll('|', '\\|');

/** A field, with the parts that its description does not repeat. */
interface Field extends CrdSchema {
  readonly default?: unknown;
  readonly enum?: readonly string[];
}

/** A row for each field below `schema`, parents first. Types that Kubernetes defines are not expanded. */
function rowsOf(schema: CrdSchema, path: string): string[] {
  return Object.entries(schema.properties ?? {}).flatMap(([name, field]: [string, Field]) => {
    const at = `${path}.${name}`;
    const inner = field.items ? `${at}[]` : at;
    const { default: initial } = field;
    const kinds = field.enum ? field.enum.map((one) => `\`${one}\``).join(', ') : typeOf(field);
    const preset =
      initial === undefined || typeof initial === 'object' ? '' : `\`${JSON.stringify(initial)}\``;
    const row = `| \`${at}\` | ${kinds} | ${preset} | ${cell(field.description ?? '')} |`;
    const below = field.items ?? field;
    return [row].concat(below['x-kubernetes-preserve-unknown-fields'] ? [] : rowsOf(below, inner));
  });
}

function typeOf(field: CrdSchema): string {
  if (field['x-kubernetes-int-or-string']) return 'integer or string';
  if (field.items) return `list of ${typeOf(field.items)}`;
  return field.additionalProperties ? 'map' : (field.type ?? 'object');
}

/** docs/reference/fields.md */
export function fieldsPage(): string {
  const file = 'charts/millrace/files/workerpools.yaml';
  const definition = parse(readFileSync(join(root, file), 'utf8')) as {
    spec: { versions: { schema: { openAPIV3Schema: CrdSchema } }[] };
  };
  const { properties = {} } = definition.spec.versions[0]?.schema.openAPIV3Schema ?? {};
  const head = ['| field | type | default | what |', '| --- | --- | --- | --- |'];
  const part = (name: 'spec' | 'status'): string[] => [
    `## ${name}`,
    '',
    ...head,
    ...rowsOf(properties[name] ?? {}, name),
    '',
  ];
  return (
    page('Fields of a WorkerPool', `\`${file}\``, [
      'On a cluster, `kubectl explain workerpool.spec --recursive` says the same. A field that is not there is left out of the',
      'pool: defaults marked here are written by the API server, all others are decided by the controller.',
      '',
      ...part('spec'),
      ...part('status'),
    ]).trimEnd() + '\n'
  );
}

/** The contents of each key, from the comment above it in the interface. */
function keyComments(): Map<string, string> {
  const source = readFileSync(join(root, 'queue/keys.ts'), 'utf8');
  const found = source.matchAll(/\/\*\*\s+(?:\* )?([\s\S]*?)\s+\*\/\n {2}(?:readonly )?(\w+)/g);
  return new Map(
    Array.from(found, ([, text = '', name = '']) => [name, text.replaceAll(/\s*\n\s*\* /g, ' ')]),
  );
}

/** What a key of many is called after, unless it is a batch or a worker. */
const OWNERS = new Map([
  ['pushes', '<client>'],
  ['answers', '<client>'],
  ...['heldTasks', 'limitRate', 'unique'].map((name) => [name, '<key>'] as const),
  ...['memory', 'timeline', 'decisions'].map((name) => [name, '<namespace>/<pool>'] as const),
]);

/** docs/reference/keys.md */
export function keysPage(): string {
  const keys = queueKeys('task_queue', 'result');
  const comments = keyComments();
  const rows = Object.entries(keys).map(([name, key]: [string, string | ((id: string) => string)]) => {
    const shown =
      typeof key === 'string'
        ? key
        : key(OWNERS.get(name) ?? (name.startsWith('batch') ? '<batch>' : '<worker>'));
    const [, type = '', what = ''] = /^([A-Z]+): (.*)$/.exec(comments.get(name) ?? '') ?? [];
    return `| \`${shown}\` | ${type} | ${cell(what)} |`;
  });
  return page('Redis keys', '`queue/keys.ts`', [
    'The keys of the queue `task_queue` with the result hash `result`. These two are yours: Millrace changes neither their type nor',
    'their order. All others are internal and may change with a version, by the rules in',
    '[ARCHITECTURE.md](../../ARCHITECTURE.md#versions-side-by-side). The braces put them into the cluster slot of the queue.',
    '',
    'A queue [in partitions](../partitions.md) has all of them for each list: of `tasks:{0}`, with results in `result:{0}`, they begin with',
    '`millrace:{0}[tasks:{0}]:`. What is kept of a pool is beside the name without a number.',
    '',
    '| key | type | holds |',
    '| --- | --- | --- |',
    ...rows,
  ]);
}

const programs = { millrace: 'cli', 'millrace-worker': 'worker', 'millrace-controller': 'controller' };

async function helpOf(program: keyof typeof programs, command: readonly string[]): Promise<string> {
  const file = join(root, programs[program], 'main.ts');
  const env = { PATH: process.env['PATH'], HOSTNAME: 'pod' };
  const { stdout } = await run(process.execPath, [file, ...command, '--help'], { env });
  return stdout.trimEnd();
}

/** The program's help, then that of its commands. */
async function helpTree(program: keyof typeof programs, command: readonly string[] = []): Promise<string[]> {
  const help = await helpOf(program, command);
  const [, list = ''] = /^Commands:\n((?: .*\n?)+)/m.exec(`${help}\n`) ?? [];
  const names = Array.from(list.matchAll(/^ {2}([a-z]+)/gm), ([, name = '']) => name).filter(
    (name) => name !== 'help',
  );
  const below: string[][] = [];
  for (const name of names) below.push(await helpTree(program, [...command, name]));
  const title = [program, ...command].join(' ');
  const depth = '#'.repeat(Math.min(2 + command.length, 4));
  return [`${depth} ${title}`, '', '```', help, '```', '', ...below.flat()];
}

/** docs/reference/flags.md */
export async function flagsPage(): Promise<string> {
  const trees: string[] = [];
  for (const program of Object.keys(programs) as (keyof typeof programs)[])
    trees.push(...(await helpTree(program)));
  return (
    page('Flags and environment variables', 'the programs themselves', [
      'What stands behind `env:` is the variable that says the same as a flag; the flag wins. In a pool, the controller sets the',
      'variables of each container from the fields of the pool; one that the template sets itself is left as it is.',
      '',
      ...trees,
    ]).trimEnd() + '\n'
  );
}

const pages = { 'fields.md': fieldsPage, 'keys.md': keysPage, 'flags.md': flagsPage } as const;

if (import.meta.main)
  await runGenerator('reference.ts', {
    description: `Writes ${FOLDER}/: fields of a WorkerPool, flags of the programs, keys in Redis.`,
    source: 'the code',
    command: 'npm run docs',
    documents: async () =>
      Object.fromEntries(
        await Promise.all(
          Object.entries(pages).map(async ([name, make]) => [`${FOLDER}/${name}`, await make()] as const),
        ),
      ),
  });

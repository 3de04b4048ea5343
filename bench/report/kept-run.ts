/** Runs of `all` that are kept to compare with: what of a run is kept, and how it is read again. */
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { readFile, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { promisify } from 'node:util';
import { UsageError } from '../../runtime/program.ts';
import type { Figures, Run } from './compare.ts';
import type { Figure } from './figures.ts';

const root = join(import.meta.dirname, '../..');
export const BASELINE = join(root, 'bench/baseline.json');
/** For people: as they would type it. */
export const BASELINE_NAME = relative(root, BASELINE);

export interface Checkout {
  /** `undefined` where there is no git. */
  readonly commit: string | undefined;
  /** Files differ from that commit. */
  readonly changed: boolean;
}

/** Nothing of the machine, and no date: a run is kept in the repository. */
export interface KeptRun extends Run {
  readonly version: string;
  readonly commit?: string | undefined;
  readonly changed?: boolean | undefined;
  readonly node: string;
  readonly redis: string;
  /** With small sizes. */
  readonly quick?: boolean | undefined;
}

/** What is checked out; the kept run itself does not count as a change. */
export async function readCheckout(): Promise<Checkout> {
  const git = async (...args: string[]): Promise<string> =>
    (await promisify(execFile)('git', args, { cwd: root })).stdout.trim();
  try {
    const commit = await git('rev-parse', 'HEAD');
    const status = await git(
      'status',
      '--porcelain',
      '--untracked-files=no',
      '--',
      '.',
      `:!${BASELINE_NAME}`,
    );
    return { commit, changed: status !== '' };
  } catch {
    return { commit: undefined, changed: false };
  }
}

/** `undefined` without a file of one's own where the repository has none. Throws `UsageError` for what is no run. */
export async function readKeptRun(file: string | undefined): Promise<KeptRun | undefined> {
  if (file === undefined && !existsSync(BASELINE)) return undefined;
  const path = file ?? BASELINE;
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new UsageError(`cannot read the kept run ${path}: ${(error as Error).message}`, { cause: error });
  }
  return parseKeptRun(text, path);
}

export async function writeKeptRun(run: KeptRun): Promise<void> {
  await writeFile(BASELINE, keptText(run));
}

/** JSON with a figure in each line, so that the difference of two runs can be read. */
export function keptText({ figures, ...run }: KeptRun): string {
  const lists = Object.entries(figures).map(([bench, list]) => {
    const lines = list.map((figure) => `\n   ${JSON.stringify(figure)}`);
    return `\n  ${JSON.stringify(bench)}: [${lines.join(',')}\n  ]`;
  });
  const fields = Object.entries(run).filter(([, value]) => value !== undefined);
  const own = fields.map(([key, value]) => ` ${JSON.stringify(key)}: ${JSON.stringify(value)},\n`);
  return `{\n${own.join('')} "figures": {${lists.join(',')}\n }\n}\n`;
}

/** A file of `--keep`, or what `--json` has printed, npm's own lines included. Throws `UsageError`. */
export function parseKeptRun(text: string, path: string): KeptRun {
  const last = text.trimEnd().split('\n').at(-1) ?? '';
  const run = parsed(text) ?? parsed(last);
  if (isRun(run)) return run;
  throw new UsageError(
    `${path} is no run of all benchmarks: make one with "npm run bench -- all --json > run.json"`,
  );
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isRun(value: unknown): value is KeptRun {
  if (!isObject(value)) return false;
  const { version, node, redis, commit = '', yardstickUs, figures } = value;
  const texts = [version, node, redis, commit].every((text) => typeof text === 'string');
  return texts && isNumbers(yardstickUs) && isFigures(figures);
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const isNumbers = (value: unknown): value is readonly number[] =>
  Array.isArray(value) && value.every((item) => typeof item === 'number');

const isFigures = (value: unknown): value is Figures =>
  isObject(value) && Object.values(value).every((list) => Array.isArray(list) && list.every(isFigure));

function isFigure(value: unknown): value is Figure {
  return isObject(value) && typeof value['name'] === 'string' && isNumbers(value['values']);
}

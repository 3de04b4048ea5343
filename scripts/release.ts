/**
 * The version of a release, in all the places where it stands. Needs nothing but Node.js.
 *
 *     node scripts/release.ts prepare 1.2.3   writes it everywhere, and the date into the changelog
 *     node scripts/release.ts check v1.2.3    fails unless all of them match the tag
 *     node scripts/release.ts notes v1.2.3    prints the changelog of that version
 *
 * How a release is made is in CONTRIBUTING.md.
 */
import { execFileSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

/** Path → text. */
export type TextFiles = ReadonlyMap<string, string>;

/** Files that contain it: the second group of each pattern is the version. */
const PLACES: readonly { readonly path: string; readonly what: string; readonly pattern: RegExp }[] = [
  { path: 'package.json', what: 'version', pattern: /^( {2}"version": ")([^"]+)/m },
  { path: 'package-lock.json', what: 'version', pattern: /^( {2}"version": ")([^"]+)/m },
  { path: 'package-lock.json', what: 'packages', pattern: /^( {4}"": \{[^}]*?"version": ")([^"]+)/m },
  { path: 'python/src/millrace/__init__.py', what: '__version__', pattern: /^(__version__ = ")([^"]+)/m },
  { path: 'charts/millrace/Chart.yaml', what: 'version', pattern: /^(version: )(\S+)/m },
  { path: 'charts/millrace/Chart.yaml', what: 'appVersion', pattern: /^(appVersion: )(\S+)/m },
];
const CHANGELOG = 'CHANGELOG.md';
/** Images are named in documents, examples and manifests, from which people copy them. */
const IMAGE = /(millrace\/(?:worker|controller):)(\d+\.\d+\.\d+(?:-[\w.]*\w)?)/g;
const HEADING = /^## (\S+) \((\S+)\)$/m;
/** https://semver.org, without build metadata: an image tag cannot contain a plus. */
const VERSION = /^(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[\dA-Za-z-]+(\.[\dA-Za-z-]+)*)?$/;

/** Throws `Error` for anything but a version, such as `1.2`. */
function checked(version: string): string {
  if (VERSION.test(version)) return version;
  throw new Error(`${version} is not a version: write three numbers, such as 1.2.3 or 1.2.3-rc.1`);
}

/** Throws `Error` if the file is missing. */
function textOf(files: TextFiles, path: string): string {
  const text = files.get(path);
  if (text === undefined) throw new Error(`${path} is missing`);
  return text;
}

/** What prevents the release of this tag, a line each; none if all places match it. */
export function disagreements(tag: string, files: TextFiles): string[] {
  const version = checked(tag.replace(/^v/, ''));
  const found: string[] = tag.startsWith('v') ? [] : [`the tag ${tag} does not begin with a v`];
  for (const { path, what, pattern } of PLACES) {
    const stated = pattern.exec(textOf(files, path))?.[2];
    if (stated !== version) found.push(`${path}: ${what} is ${stated ?? 'not there'}, not ${version}`);
  }
  for (const [path, text] of files)
    for (const [image, , stated] of path === CHANGELOG ? [] : text.matchAll(IMAGE))
      if (stated !== version) found.push(`${path}: names the image ${image}, not one of ${version}`);
  const [, latest, date = ''] = HEADING.exec(textOf(files, CHANGELOG)) ?? [];
  if (latest !== version) found.push(`${CHANGELOG}: begins with ${latest ?? 'no version'}, not ${version}`);
  else if (!/^\d{4}-\d\d-\d\d$/.test(date))
    found.push(`${CHANGELOG}: ${version} is ${date}, and has no date`);
  return found;
}

/**
 * The files that change when this version is prepared, with their new texts.
 * @param date of the release, YYYY-MM-DD.
 * Throws `Error` if a place is missing, or the changelog has no unreleased section.
 */
export function prepared(version: string, date: string, files: TextFiles): Map<string, string> {
  checked(version);
  const changed = new Map<string, string>();
  const replace = (path: string, pattern: RegExp): void => {
    const text = changed.get(path) ?? textOf(files, path);
    if (text.search(pattern) === -1)
      throw new Error(`${path} does not state its version in the expected place`);
    changed.set(path, text.replace(pattern, `$1${version}`));
  };
  for (const { path, pattern } of PLACES) replace(path, pattern);
  for (const [path, text] of files) if (path !== CHANGELOG && text.search(IMAGE) !== -1) replace(path, IMAGE);
  const log = textOf(files, CHANGELOG);
  if (HEADING.exec(log)?.[2] !== 'unreleased')
    throw new Error(
      `${CHANGELOG} does not begin with "## ${version} (unreleased)": there is nothing to release`,
    );
  changed.set(CHANGELOG, log.replace(HEADING, `## ${version} (${date})`));
  return changed;
}

/** The changelog's section for a version. Throws `Error` if there is none. */
export function notes(tag: string, files: TextFiles): string {
  const version = checked(tag.replace(/^v/, ''));
  const section = textOf(files, CHANGELOG)
    .split(/^(?=## )/m)
    .find((part) => HEADING.exec(part)?.[1] === version);
  if (section === undefined) throw new Error(`${CHANGELOG} has no section for ${version}`);
  return `${section.replace(HEADING, '').trim()}\n`;
}

/** Text files that are tracked by git in this checkout. */
export function readFiles(root: string): TextFiles {
  const paths = execFileSync('git', ['ls-files', '-z'], { cwd: root, encoding: 'utf8' }).split('\0');
  const texts = paths.filter((path) => /\.(md|json|ya?ml|ts|tsx|tpl|txt|py)$|Dockerfile$/.test(path));
  return new Map(texts.map((path) => [path, readFileSync(join(root, path), 'utf8')]));
}

const USAGE = 'usage: node scripts/release.ts prepare 1.2.3 | check v1.2.3 | notes v1.2.3';

function main([command, version = '']: readonly string[]): void {
  if (command === '--help' || command === '-h') {
    process.stdout.write(`${USAGE}\n`);
    return;
  }
  if (!['check', 'prepare', 'notes'].includes(command ?? '')) throw new Error(USAGE);
  const root = resolve(import.meta.dirname, '..');
  const files = readFiles(root);
  if (command === 'check') {
    const found = disagreements(version, files);
    if (found.length > 0) throw new Error(`${version} is not ready:\n${found.join('\n')}`);
  } else if (command === 'prepare') {
    const date = new Date().toISOString().slice(0, 10);
    for (const [path, text] of prepared(version, date, files)) writeFileSync(join(root, path), text);
  } else process.stdout.write(notes(version, files));
}

if (import.meta.main)
  try {
    main(process.argv.slice(2));
  } catch (error) {
    console.error(`release: ${(error as Error).message}`);
    process.exitCode = 1;
  }

/** A release: its version is in many places, and the workflow publishes nothing until they agree with the tag. */
import { execFile } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { parseAllDocuments } from 'yaml';
import { disagreements, notes, prepared, readFiles, type TextFiles } from '../../scripts/release.ts';

const root = resolve(import.meta.dirname, '../..');
const here = readFiles(root);
const overlaid = (files: TextFiles, changed: Iterable<readonly [string, string]>): TextFiles =>
  new Map([...files, ...changed]);
const released = overlaid(here, prepared('3.4.5', '2030-01-31', here));

test('a prepared release agrees with its tag, and nothing of the previous version is left', () => {
  expect(disagreements('v3.4.5', released)).toEqual([]);
  const now = (JSON.parse(here.get('package.json') ?? '') as { version: string }).version;
  const left = disagreements(`v${now}`, released);
  expect(left.length).toBeGreaterThan(10);
  expect(left).toContain(`package.json: version is 3.4.5, not ${now}`);
  expect(released.get('README.md')).toContain('worker:3.4.5');
  expect(released.get('CHANGELOG.md')).toMatch(/^## 3\.4\.5 \(2030-01-31\)$/m);
});

test('preparing changes the version, and nothing else', () => {
  for (const [path, text] of prepared('3.4.5', '2030-01-31', here)) {
    const before = (here.get(path) ?? '').split('\n');
    const after = text.split('\n');
    expect(after.length, path).toBe(before.length);
    for (const [i, line] of after.entries()) if (line !== before[i]) expect(line, path).toContain('3.4.5');
  }
});

test.each([
  ['package.json', /"version": "3.4.5"/, '"version": "3.4.4"', 'package.json: version is 3.4.4, not 3.4.5'],
  [
    'package-lock.json',
    /("name": "millrace",\s+"version": ")3.4.5(",\s+"license")/,
    '$13.4.4$2',
    'package-lock.json: packages is 3.4.4, not 3.4.5',
  ],
  [
    'charts/millrace/Chart.yaml',
    /^version: .*/m,
    'version: 3.4',
    'charts/millrace/Chart.yaml: version is 3.4, not 3.4.5',
  ],
  [
    'charts/millrace/Chart.yaml',
    /^appVersion: .*\n/m,
    '',
    'charts/millrace/Chart.yaml: appVersion is not there, not 3.4.5',
  ],
  [
    'README.md',
    /worker:3.4.5/,
    'worker:3.4.4',
    // in two parts, as this file is looked through, too
    `README.md: names the image ${['millrace', 'worker:3.4.4'].join('/')}, not one of 3.4.5`,
  ],
  ['CHANGELOG.md', /\(2030-01-31\)/, '(unreleased)', 'CHANGELOG.md: 3.4.5 is unreleased, and has no date'],
  ['CHANGELOG.md', /^## 3.4.5/m, '## 3.4.6', 'CHANGELOG.md: begins with 3.4.6, not 3.4.5'],
])('%s that says %s otherwise is named', (path, pattern, text, line) => {
  const before = released.get(path) ?? '';
  const after = before.replace(pattern, text);
  expect(after).not.toBe(before);
  expect(disagreements('v3.4.5', overlaid(released, [[path, after]]))).toEqual([line]);
});

test.each(['1.2', 'v1.2.3', '1.2.3+linux', '01.2.3', 'latest', ''])('%j is no version', (version) => {
  expect(() => prepared(version, '2030-01-31', here)).toThrow(`${version} is not a version`);
});

test('a tag without its v, and a version that is released already', () => {
  expect(disagreements('3.4.5', released)).toEqual(['the tag 3.4.5 does not begin with a v']);
  expect(() => prepared('3.4.6', '2030-02-01', released)).toThrow('there is nothing to release');
});

test('the notes of a release are its part of the changelog', () => {
  const log = '# Changelog\n\n## 2.0.0 (2030-02-01)\n\n- b\n\n## 1.0.0 (2030-01-01)\n\n- a\n  more\n';
  expect(notes('v1.0.0', new Map([['CHANGELOG.md', log]]))).toBe('- a\n  more\n');
  expect(notes('v2.0.0', new Map([['CHANGELOG.md', log]]))).toBe('- b\n');
  expect(() => notes('v3.0.0', new Map([['CHANGELOG.md', log]]))).toThrow(
    'CHANGELOG.md has no section for 3.0.0',
  );
});

test('as the workflow calls it: a tag that does not match exits with code 1 and the reason', async () => {
  const ran = promisify(execFile)(process.execPath, ['scripts/release.ts', 'check', 'v99.0.0'], {
    cwd: root,
  });
  await expect(ran).rejects.toMatchObject({
    code: 1,
    stderr: expect.stringMatching(
      /^release: v99\.0\.0 is not ready:\npackage\.json: version is \S+, not 99\.0\.0\n/,
    ),
  });
});

interface Workflow {
  readonly permissions: object;
  readonly jobs: Record<
    string,
    {
      permissions?: Record<string, string>;
      steps?: { uses?: string; run?: string }[];
      needs?: string | string[];
    }
  >;
}
const workflow = (name: string): Workflow =>
  parseAllDocuments(readFileSync(join(root, '.github/workflows', name), 'utf8'))[0]?.toJS() as Workflow;

test('workflows: CI runs .ci/run; a release is tested and checked before anything is published', () => {
  const runs = (name: string): string[] =>
    Object.values(workflow(name).jobs).flatMap(({ steps = [] }) => steps.flatMap(({ run }) => run ?? []));
  expect(runs('ci.yml').some((run) => run.endsWith(' .ci/run'))).toBe(true);
  expect(runs('release.yml').join('\n')).toContain('node scripts/release.ts check "$GITHUB_REF_NAME"');
  const { jobs, permissions } = workflow('release.yml');
  expect(permissions).toEqual({});
  const before = (name: string): string[] => {
    const direct = [jobs[name]?.needs ?? []].flat();
    return [...direct, ...direct.flatMap((needed) => before(needed))];
  };
  for (const [name, { permissions: rights = {} }] of Object.entries(jobs))
    if (Object.values(rights).includes('write')) {
      expect(before(name), name).toContain('versions');
      expect(before(name), name).toContain('tests');
    }
});

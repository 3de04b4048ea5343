/** The page about servers, and how the outcomes of a run are judged. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Outcome } from '../matrix/outcome.ts';
import { judge } from '../matrix/outcome.ts';
import { pageOf } from '../matrix/page.ts';
import type { MatrixServer } from '../matrix/servers.ts';

const root = join(import.meta.dirname, '../..');
const server: MatrixServer = { name: 'none', from: { kind: 'system' }, tls: false };

test('docs/servers.md has the table of the kept outcomes', () => {
  const outcomes = JSON.parse(readFileSync(join(root, 'test/matrix/results.json'), 'utf8')) as Outcome[];
  const page = readFileSync(join(root, 'docs/servers.md'), 'utf8');
  expect(pageOf(page, outcomes)).toBe(page);
  expect(outcomes.flatMap(({ unexpected }) => unexpected)).toEqual([]);
  expect(outcomes.flatMap(({ stale }) => stale)).toEqual([]);
});

test('a failure counts as a difference only where it is listed, and a listed test must fail', () => {
  const tests = [
    { title: 'turn.test.ts takes a task', passed: true, why: '' },
    { title: 'turn.test.ts loses a task', passed: false, why: 'it was lost' },
    { title: 'connection.test.ts with a certificate', passed: false, why: 'the build has no TLS' },
    { title: 'clock.test.ts steps back', passed: false, why: 'expected 1 to be 2' },
    { title: 'clock.test.ts steps forward', passed: true, why: '' },
  ];
  const listed = [
    { on: () => true, failure: /no TLS/, why: 'no TLS' },
    { on: () => true, tests: /^clock/, why: 'no clock' },
    { on: () => false, tests: /^turn/, why: 'of another server' },
  ];
  expect(judge(server, 'Redis 1.2.3', tests, listed)).toMatchObject({
    version: 'Redis 1.2.3',
    passed: 2,
    differences: 2,
    reasons: ['no TLS', 'no clock'],
    unexpected: [{ title: 'turn.test.ts loses a task', why: 'it was lost' }],
    stale: ['clock.test.ts steps forward'],
  });
});

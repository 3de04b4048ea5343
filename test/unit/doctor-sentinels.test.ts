/** What `millrace doctor` finds in the reports of sentinels. */
import { expect, test } from 'vitest';
import { checkSentinels } from '../../cli/doctor/sentinels.ts';
import type { SentinelReport } from '../../queue/connection/sentinel.ts';

const well: SentinelReport = {
  primary: { host: '10.0.0.1', port: 6379 },
  replicas: 1,
  otherSentinels: 2,
  noQuorum: undefined,
};
const other = { host: '10.0.0.2', port: 6379 };

test.each<[what: string, reports: (Partial<SentinelReport> | Error)[], levels: string[], words: RegExp]>([
  ['all is well', [{}, {}, {}], ['ok'], /^3 of 3 answer; primary 10\.0\.0\.1:6379, replicas: 1$/],
  ['one does not answer', [{}, new Error('is away'), {}], ['warn', 'ok'], /^is away/],
  ['none answers', [new Error('is away')], ['warn'], /^is away$/],
  ['they disagree', [{}, { primary: other }, {}], ['fail'], /10\.0\.0\.1:6379, 10\.0\.0\.2:6379/],
  ['no majority', [{ noQuorum: 'NOQUORUM 1 usable' }], ['fail'], /NOQUORUM 1 usable/],
  ['no replica', [{ replicas: 0 }], ['warn'], /has no replica/],
  ['two of them', [{ otherSentinels: 1 }, { otherSentinels: 1 }], ['warn'], /there are 2 of them/],
])('%s', (_what, reports, levels, words) => {
  const findings = checkSentinels(
    reports.map((report, i) => ({
      node: `s-${i}:26379`,
      report: report instanceof Error ? report : { ...well, ...report },
    })),
  );
  expect(findings.map(({ level }) => level)).toEqual(levels);
  expect(findings[0]?.note).toMatch(words);
});

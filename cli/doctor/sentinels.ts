/** Checks of the sentinels: whether all answer, agree, and could elect another primary. */
import { endpointName } from '../../queue/connection/address.ts';
import type { SentinelReport } from '../../queue/connection/sentinel.ts';
import type { SentinelView } from '../access/sentinel-views.ts';
import { fail, ok, warn, type Finding } from './finding.ts';

const about = 'sentinels';

/** Pure. */
export function checkSentinels(views: readonly SentinelView[]): Finding[] {
  const reports: SentinelReport[] = [];
  const silent: Finding[] = [];
  for (const { node, report } of views) {
    if (report instanceof Error)
      silent.push(
        warn(`sentinel ${node}`, report.message, 'start it, or remove it from the addresses given'),
      );
    else reports.push(report);
  }
  return [...silent, ...verdict(reports, views.length)];
}

function verdict(reports: readonly SentinelReport[], given: number): Finding[] {
  const [first] = reports;
  if (!first) return [];
  const primaries = [...new Set(reports.map(({ primary }) => endpointName(primary)))];
  if (primaries.length > 1)
    return [
      fail(
        about,
        `they name different primaries: ${primaries.join(', ')}`,
        'wait until a failover in progress is over; if they still differ, compare SENTINEL MASTER on each of them',
      ),
    ];
  const noQuorum = reports.find((report) => report.noQuorum !== undefined)?.noQuorum;
  if (noQuorum !== undefined)
    return [
      fail(about, `no other primary could be elected (${noQuorum})`, 'start the sentinels that are down'),
    ];
  const replicas = Math.max(...reports.map((report) => report.replicas));
  if (replicas === 0)
    return [
      warn(about, `primary ${primaries.join()} has no replica`, 'add one: without it there is no failover'),
    ];
  const known = first.otherSentinels + 1;
  if (known < 3)
    return [
      warn(
        about,
        `there are ${known} of them`,
        'run three: a majority must agree before another primary is elected',
      ),
    ];
  return [
    ok(about, `${reports.length} of ${given} answer; primary ${primaries.join()}, replicas: ${replicas}`),
  ];
}

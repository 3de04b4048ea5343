/**
 * `cli/doctor/` takes a Redis or a cluster and returns findings, each with what to do. It changes nothing.
 *
 * `millrace doctor`: checks everything that Millrace needs of a Redis and of a cluster, and prints how to fix each problem. Exit
 * code 1 if a check fails.
 */
import { printable } from '../../runtime/plain-text.ts';
import { UsageError } from '../../runtime/program.ts';
import { plural } from '../../runtime/plural.ts';
import { withRedis } from '../access/access.ts';
import type { Place } from '../access/place.ts';
import { fail, type Finding, type DoctorFlags } from './finding.ts';
import type { CommandLog } from '../terminal/command-log.ts';
import { print } from '../terminal/output.ts';
import { paint } from '../terminal/paint.ts';

export async function doctor(flags: DoctorFlags, log: CommandLog): Promise<void> {
  const findings: Finding[] = [];
  // without a Redis, the cluster is checked
  if (!flags.redisNamed) {
    const { checkCluster } = await import('./cluster.ts');
    findings.push(...(await checkCluster(flags, log)));
  }
  if (flags.redisNamed || flags.pool !== undefined) findings.push(...(await ofRedis(flags, log)));
  await print(flags.output, findings, () => findings.map(lines).join('') + summary(findings));
  if (findings.some(({ level }) => level === 'fail')) process.exitCode = 1;
}

/** An unreachable Redis is a finding as well: the state of the cluster is just as useful then. */
async function ofRedis(flags: DoctorFlags, log: CommandLog): Promise<Finding[]> {
  const { checkRedis } = await import('./redis.ts');
  try {
    return await withRedis(flags, (redis, place: Place, redisOf) => checkRedis(redis, place, redisOf));
  } catch (error) {
    if (error instanceof UsageError) throw error;
    log.debug(error, 'Redis could not be checked');
    return [fail('Redis', (error as Error).message, '')];
  }
}

const COLOURS = { ok: 'green', warn: 'yellow', fail: 'red' } as const;

function lines({ level, about, note, todo }: Finding): string {
  const what = `${paint(COLOURS[level], level.padEnd(4))}  ${printable(about)}: ${printable(note)}\n`;
  return todo ? `${what}      → ${printable(todo)}\n` : what;
}

function summary(findings: readonly Finding[]): string {
  const count = (level: Finding['level']): number => findings.filter((one) => one.level === level).length;
  return `\n${count('ok')} ok, ${plural(count('warn'), 'warning')}, ${count('fail')} failed\n`;
}

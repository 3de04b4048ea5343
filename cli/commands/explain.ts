/**
 * `millrace explain`: why a pool has its number of replicas. The newest decision with the numbers that led to it, and earlier
 * ones, as the controller (or `millrace dev`) recorded them in Redis.
 */
import { explain } from '../../controller/records/explain.ts';
import { parseDecision, type DecisionRecord } from '../../controller/records/decisions.ts';
import { readDecisions } from '../../queue/pool/decisions.ts';
import type { AccessFlags } from '../access/access-flags.ts';
import { print, type Output } from '../terminal/output.ts';
import { withRecords } from '../access/recorded-pool.ts';
import { age, oneLine, table } from '../terminal/table.ts';

export interface ExplainFlags extends AccessFlags {
  readonly count: number;
  readonly output: Output;
}

export async function explainCommand(name: string | undefined, flags: ExplainFlags): Promise<void> {
  await withRecords(name, flags, async ({ redis, keys, pool }) => {
    const texts = await readDecisions(redis, keys, pool);
    const decisions = texts.map(parseDecision).filter((decision) => decision !== undefined);
    const [seconds = 0] = (await redis.time()).map(Number);
    const shown = decisions.slice(0, flags.count);
    await print(flags.output, { pool, decisions: shown }, () => text(pool, shown, seconds * 1_000));
  });
}

function text(pool: string, decisions: readonly DecisionRecord[], now: number): string {
  const [latest, ...earlier] = decisions;
  if (!latest)
    return `No decision is recorded for ${pool} yet: it is at zero and no task has arrived since recording began, or its queue cannot be read (see the pool's condition Ready).\n`;
  const { at, confirmedAt, cause, reason } = latest;
  const since = `for ${age(now - at)}, last confirmed ${age(now - confirmedAt)} ago`;
  const when = at === confirmedAt ? `${age(now - at)} ago` : since;
  const head = `${pool}: ${numberOf(latest)} (${cause}), ${when}\n  ${reason}\n\n`;
  const sections = explain(latest).flatMap(([heading, lines]) =>
    lines.map((line, i) => `  ${(i === 0 ? heading : '').padEnd(14)}${line}\n`),
  );
  const rows = earlier.map((one) => [age(now - one.at), numberOf(one), one.cause, oneLine(one.reason, 120)]);
  const before = rows.length === 0 ? '' : `\n${table(['AGO', 'REPLICAS', 'CAUSE', 'DECISION'], rows)}`;
  return head + sections.join('') + before;
}

function numberOf({ from, to, desired }: DecisionRecord): string {
  const now = from === to ? String(to) : `${from}→${to}`;
  return desired === to ? now : `${now} (of ${desired})`;
}

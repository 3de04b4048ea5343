/** The list of pools as it changes: rows with the server's updates, sparklines with time. Pure. */
import type { Overview, OverviewChange, PoolRow } from '../controller/dashboard/api.ts';

/** As on the server. */
export const SPARK_MS = 15_000;
const SPARKS = 60;

export function applyOverview(whole: Overview, { now, changed, gone }: OverviewChange): Overview {
  const rows = new Map(whole.pools.map((row) => [row.key, row]));
  for (const key of gone) rows.delete(key);
  for (const difference of changed) {
    const before = rows.get(difference.key);
    const row = { ...before, ...difference } as PoolRow;
    rows.set(difference.key, difference.waiting === undefined ? row : withSpark(row, now));
  }
  return { ...whole, now, pools: [...rows.values()] };
}

/** The row with its sparkline advanced to `now`; its last value includes the waiting tasks. */
function withSpark(row: PoolRow, now: number): PoolRow {
  const spark = [...sparkAt(row, now)];
  const last = spark.length - 1;
  spark[last] = Math.max(spark[last] ?? 0, row.waiting);
  return { ...row, spark, sparkAt: Math.floor(now / SPARK_MS) * SPARK_MS };
}

/** The sparkline at `now`: between two samples, a queue counts as unchanged. */
export function sparkAt({ spark, sparkAt: at = 0, waiting }: PoolRow, now: number): readonly number[] {
  if (!spark) return Array.from<number>({ length: SPARKS }).fill(0);
  const turns = Math.min(SPARKS, Math.max(0, Math.floor(now / SPARK_MS) - Math.floor(at / SPARK_MS)));
  if (turns === 0) return spark;
  return [...spark.slice(turns), ...Array.from<number>({ length: turns }).fill(waiting)];
}

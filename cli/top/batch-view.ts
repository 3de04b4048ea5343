/** Batches and cron tasks on the screen of `millrace top`. Pure. */
import { describeWait } from '../commands/batch.ts';
import { age } from '../terminal/table.ts';
import { rateText, withFirst, type Column } from './columns.ts';
import { describeLimit } from './limit-view.ts';
import type { TopBatch, TopCron, TopDetail, TopState } from './model.ts';

export function batchColumns(columns: number): readonly Column<TopBatch>[] {
  return withFirst<TopBatch>(columns, { title: 'BATCH', text: ({ id }) => id }, [
    {
      title: 'STATE',
      width: 10,
      text: ({ state, waiting }) => (waiting > 0 ? 'waits' : state),
      colour: ({ state, waiting }) =>
        waiting > 0 ? 'yellow' : state.startsWith('fail') ? 'red' : state === 'ended' ? 'green' : undefined,
    },
    {
      title: 'DONE',
      width: 15,
      right: true,
      text: ({ succeeded, size }) => `${succeeded.toLocaleString('en')}/${size.toLocaleString('en')}`,
    },
    {
      title: 'FAILED',
      width: 6,
      right: true,
      wide: true,
      text: ({ failed }) => String(failed),
      colour: ({ failed }) => (failed > 0 ? 'red' : undefined),
    },
    { title: 'LEFT', width: 9, right: true, wide: true, text: ({ left }) => left.toLocaleString('en') },
    { title: 'RATE', width: 7, right: true, wide: true, text: ({ rate }) => rateText(rate) },
    { title: 'ETA', width: 7, right: true, text: timeLeft },
  ]);
}

/** Parts that wait for somebody, or for a batch inside, do not depend on the pace. */
function timeLeft({ state, left, waiting, inner, rate }: TopBatch): string {
  const pending = left - waiting - inner;
  if (state !== 'running' || rate === undefined || rate <= 0 || pending <= 0) return '-';
  return age(1_000 * Math.ceil(pending / rate));
}

export function cronColumns(columns: number, now: number): readonly Column<TopCron>[] {
  return withFirst<TopCron>(columns, { title: 'CRON', text: ({ name }) => name }, [
    { title: 'SCHEDULE', width: 14, wide: true, text: ({ schedule }) => schedule },
    {
      title: 'NEXT',
      width: 9,
      right: true,
      text: ({ suspended, nextAt }) =>
        suspended ? 'suspended' : nextAt === undefined ? '-' : `in ${age(nextAt - now)}`,
      colour: ({ suspended }) => (suspended ? 'yellow' : undefined),
    },
    {
      title: 'LAST',
      width: 7,
      right: true,
      text: ({ lastAt }) => (lastAt === undefined ? '-' : age(now - lastAt)),
    },
    {
      title: 'OUTCOME',
      width: 9,
      text: ({ outcome = '-' }) => outcome,
      colour: ({ outcome }) => (outcome === 'failed' ? 'red' : outcome === 'succeeded' ? 'green' : undefined),
    },
    { title: 'MISSED', width: 6, right: true, wide: true, text: ({ missed }) => String(missed) },
    { title: 'SKIPPED', width: 7, right: true, wide: true, text: ({ skipped }) => String(skipped) },
  ]);
}

/** More about what the cursor is on; `undefined` elsewhere. */
export function chosenLine(
  { opened }: TopState,
  detail: TopDetail | undefined,
  now: number,
): string | undefined {
  if (!opened || !detail) return undefined;
  const at = <T>(list: readonly T[]): T | undefined => list[Math.min(opened.cursor, list.length - 1)];
  if (opened.tab === 'batches') {
    const batch = at(detail.batches);
    return batch && `${batch.id}: ${describeWait(batch, now) ?? batch.why ?? aboutEnd(batch, now)}`;
  }
  if (opened.tab === 'limits') {
    const limit = at(detail.limits);
    return limit && describeLimit(limit, now);
  }
  if (opened.tab !== 'crons') return undefined;
  const cron = at(detail.crons);
  const last = cron?.lastTask === undefined ? '' : `, last task ${cron.lastTask}`;
  return cron && `${cron.name}: ${cron.schedule} in ${cron.timeZone}${last}`;
}

function aboutEnd({ createdAt, endedAt, then }: TopBatch, now: number): string {
  const next = then === undefined ? '' : `, then ${then}`;
  if (endedAt === undefined) return `begun ${age(now - createdAt)} ago${next}`;
  return `ended ${age(now - endedAt)} ago, took ${age(endedAt - createdAt)}${next}`;
}

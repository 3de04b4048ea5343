/** Limits on the screen of `millrace top`. Pure. */
import { formatDuration } from '../../runtime/duration.ts';
import { age } from '../terminal/table.ts';
import { withFirst, type Column } from './columns.ts';
import type { TopLimit } from './model.ts';

export function limitColumns(columns: number, several: boolean, now: number): readonly Column<TopLimit>[] {
  return withFirst<TopLimit>(columns, { title: 'LIMIT', text: (limit) => nameOf(limit, several) }, [
    {
      title: 'FULL',
      width: 13,
      right: true,
      text: fullness,
      colour: ({ held }) => (held > 0 ? 'yellow' : undefined),
    },
    { title: 'HELD', width: 9, right: true, text: ({ held }) => held.toLocaleString('en') },
    { title: 'NEXT', width: 13, right: true, wide: true, text: (limit) => nextOf(limit, now) },
  ]);
}

function nameOf({ kind, text, queue }: TopLimit, several: boolean): string {
  if (kind === 'key') return `  ${text}`;
  return several ? `${queue}: ${text}` : text;
}

function fullness({ kind, used, most }: TopLimit): string {
  if (used === undefined) return '-';
  if (kind === 'perKey') return `${used.toLocaleString('en')} key${used === 1 ? '' : 's'}`;
  return `${used.toLocaleString('en')}/${(most ?? 0).toLocaleString('en')}`;
}

function nextOf({ kind, nextAt }: TopLimit, now: number): string {
  if (kind !== 'key') return '';
  if (nextAt === undefined) return 'when one ends';
  const ms = Math.max(0, Math.ceil(nextAt - now));
  return `in ${ms < 1_000 ? formatDuration(ms) : age(ms)}`;
}

/** More about one of them. */
export function describeLimit(limit: TopLimit, now: number): string {
  const { kind, queue, text, held, by, at } = limit;
  if (kind === 'key')
    return `${text}: ${held.toLocaleString('en')} held in ${queue}, the next ${nextOf(limit, now)}`;
  return `${queue}: ${text}, set by ${by} ${age(now - at)} ago`;
}

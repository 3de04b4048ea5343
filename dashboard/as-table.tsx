import type { Series } from '../controller/dashboard/api.ts';
import { clock, formatCount, formatMs } from './format.ts';
import { rowsOf } from './ticks.ts';

const ROWS = 15;

export interface AsTableProps {
  readonly series: Series;
  readonly times: readonly number[];
  readonly now: number;
  readonly open: boolean;
  readonly onOpen: (open: boolean) => void;
}

/** The data of the charts as a table, for people who cannot see them. */
export function AsTable({ series, times, now, open, onOpen }: AsTableProps) {
  const { waiting, inFlight, replicas, ready, desired, waitP50, waitP95 } = series.columns;
  const number = (value: number | null | undefined): string =>
    typeof value === 'number' ? formatCount(value) : '–';
  const time = (value: number | null | undefined): string =>
    typeof value === 'number' ? formatMs(value) : '–';
  const last = times.length - 1;
  return (
    <details class="as-table" open={open} onToggle={(event) => onOpen(event.currentTarget.open)}>
      <summary>The same as a table</summary>
      {open && (
        <div class="scroll" tabIndex={0} role="group" aria-label="The charts as a table">
          <table class="plain">
            <thead>
              <tr>
                <th scope="col">Time</th>
                {['Waiting', 'In flight', 'Current', 'Ready', 'Desired', 'Wait p50', 'Wait p95'].map(
                  (title) => (
                    <th key={title} scope="col" class="num">
                      {title}
                    </th>
                  ),
                )}
              </tr>
            </thead>
            <tbody>
              {rowsOf(times, ROWS).map((i) => (
                <tr key={i === last ? 'latest' : times[i]}>
                  <th scope="row">{clock(times[i] ?? 0, now)}</th>
                  {[waiting, inFlight, replicas, ready, desired].map((column, c) => (
                    <td key={c} class="num">
                      {number(column[i])}
                    </td>
                  ))}
                  <td class="num">{time(waitP50[i])}</td>
                  <td class="num">{time(waitP95[i])}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
    </details>
  );
}

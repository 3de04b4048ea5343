/** The table of pools; on narrow screens, cards with the same rows. */
import { memo } from 'preact/compat';
import { useRef } from 'preact/hooks';
import type { PoolRow } from '../controller/dashboard/api.ts';
import { ago, formatCount, formatMs } from './format.ts';
import { nameOf, namespaceOf, type Order, type SortKey } from './order.ts';
import { SPARK_MS, sparkAt } from './overview.ts';
import { hrefOf } from './route.ts';
import { Sparkline } from './sparkline.tsx';
import { State } from './state.tsx';
import { useMedia, useVisible } from './window.ts';

/** As in list.css. */
const ROW = 60;
const CARD = 132;

interface Column {
  readonly key: SortKey;
  readonly title: string;
  readonly kind: string;
  readonly down: boolean;
}

const COLUMNS: readonly Column[] = [
  { key: 'name', title: 'Pool', kind: 'name', down: false },
  { key: 'state', title: 'State', kind: 'state', down: true },
  { key: 'waiting', title: 'Waiting', kind: 'waiting', down: true },
  { key: 'inFlight', title: 'In flight', kind: 'num', down: true },
  { key: 'replicas', title: 'Replicas', kind: 'num', down: true },
  { key: 'wait', title: 'Wait p95', kind: 'num', down: true },
  { key: 'decided', title: 'Last decision', kind: 'decision', down: true },
];

export interface PoolTableProps {
  readonly rows: readonly PoolRow[];
  readonly order: Order;
  readonly onOrder: (order: Order) => void;
  readonly now: number;
}

export function PoolTable({ rows, order, onOrder, now }: PoolTableProps) {
  const body = useRef<HTMLTableSectionElement>(null);
  const narrow = useMedia('(max-width: 859px)');
  const height = narrow ? CARD : ROW;
  const { from, to } = useVisible(body, rows.length, height);
  const sort = ({ key, down }: Column): void =>
    onOrder(order.by === key ? { by: key, down: !order.down } : { by: key, down });
  return (
    <>
      <label class="sorter">
        Sort by
        <select
          value={order.by}
          onChange={(event) => {
            const chosen = COLUMNS.find(({ key }) => key === event.currentTarget.value);
            if (chosen) onOrder({ by: chosen.key, down: chosen.down });
          }}
        >
          {COLUMNS.map(({ key, title }) => (
            <option key={key} value={key}>
              {title}
            </option>
          ))}
        </select>
      </label>
      <table class="pools" role="table" aria-label="Pools" aria-rowcount={rows.length + 1}>
        <thead role="rowgroup">
          <tr role="row" aria-rowindex={1}>
            {COLUMNS.map((column) => (
              <th
                key={column.key}
                role="columnheader"
                scope="col"
                class={column.kind}
                aria-sort={order.by === column.key ? (order.down ? 'descending' : 'ascending') : undefined}
              >
                <button type="button" onClick={() => sort(column)}>
                  {column.title}
                </button>
              </th>
            ))}
          </tr>
        </thead>
        <tbody ref={body} role="rowgroup">
          <Gap height={from * height} />
          {rows.slice(from, to).map((row, i) => (
            <Row
              key={row.key}
              row={row}
              index={from + i + 2}
              // rows contain relative times, which change only in these steps
              now={Math.floor(now / 5_000) * 5_000}
              turn={Math.floor(now / SPARK_MS)}
            />
          ))}
          <Gap height={(rows.length - to) * height} />
        </tbody>
      </table>
    </>
  );
}

/** The space of rows that are not rendered. */
function Gap({ height }: { height: number }) {
  if (height <= 0) return null;
  return (
    <tr class="gap" role="presentation" aria-hidden="true">
      <td colSpan={COLUMNS.length} style={{ height: `${height}px` }} />
    </tr>
  );
}

const Row = memo(function Row({
  row,
  index,
  now,
  turn,
}: {
  row: PoolRow;
  index: number;
  now: number;
  turn: number;
}) {
  const { key, waiting, inFlight, waitP50, waitP95, targetMs, decision, decidedAt, trouble, known } = row;
  const late = waitP95 !== null && targetMs !== null && waitP95 > targetMs;
  return (
    <tr role="row" aria-rowindex={index} class={known ? row.state : `${row.state} stale`}>
      <th role="rowheader" scope="row" class="name">
        <a href={hrefOf(key)}>{nameOf(key)}</a>
        <span class="sub">{namespaceOf(key)}</span>
      </th>
      <td role="cell" class="state">
        <State row={row} />
      </td>
      <td role="cell" class="waiting">
        <Sparkline values={sparkAt(row, turn * SPARK_MS)} />
        <span class="big">
          {formatCount(waiting)}
          <span class="unit"> waiting</span>
        </span>
      </td>
      <td role="cell" class="num flight">
        {formatCount(inFlight)}
        <span class="unit"> in flight</span>
      </td>
      <td role="cell" class="num replicas">
        <Replicas row={row} />
      </td>
      <td role="cell" class="num wait">
        {waitP95 === null ? (
          <span class="none">–</span>
        ) : (
          <>
            <span class={late ? 'late' : undefined}>{formatMs(waitP95)}</span>
            <span class="sub">{waitP50 !== null && `p50 ${formatMs(waitP50)}`}</span>
          </>
        )}
      </td>
      <td role="cell" class="decision">
        {trouble === null ? (
          <span class="words" title={decision ?? undefined}>
            {decision ?? <span class="none">none yet</span>}
          </span>
        ) : (
          <span class="words trouble" title={trouble}>
            {trouble}
          </span>
        )}
        {trouble === null && decidedAt !== null && <span class="sub">{ago(decidedAt, now)}</span>}
      </td>
    </tr>
  );
});

/** Ready of desired, and the existing ones if that number differs. */
function Replicas({ row: { replicas, ready, desired } }: { row: PoolRow }) {
  const settled = replicas === desired && ready === desired;
  const words = `${ready} ready, ${replicas} current, ${desired} desired`;
  return (
    <span aria-label={words} role="img" title={words}>
      <span class="big">
        {settled ? formatCount(desired) : `${formatCount(ready)} → ${formatCount(desired)}`}
      </span>
      <span class="unit"> {settled && desired === 1 ? 'replica' : 'replicas'}</span>
      {!settled && <span class="sub">{formatCount(replicas)} current</span>}
    </span>
  );
}

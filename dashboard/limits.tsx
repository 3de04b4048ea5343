/** The limits of the pool's queues: how full each is, what waits for it, and the keys that hold the most. */
import { useRef } from 'preact/hooks';
import type { LimitedKeyRow, LimitRow, PoolParts, QueueLimitsView } from '../controller/dashboard/api.ts';
import { ago, ahead, formatCount, plural } from './format.ts';
import { Nothing, Section } from './section.tsx';

export interface LimitListProps {
  readonly limits: PoolParts['limits'];
  readonly showTasks: boolean;
  readonly now: number;
}

/** Nothing for a pool that has none. */
export function LimitList({ limits, showTasks, now }: LimitListProps) {
  const had = useRef(false);
  had.current = limits ? limits.length > 0 : had.current;
  if (!had.current) return null;
  if (!limits)
    return (
      <Section title="Limits">
        <Nothing>Redis does not answer: how full they are is unknown.</Nothing>
      </Section>
    );
  const hidden = !showTasks && limits.some((one) => one.limits.some(hidesKeys));
  return (
    <Section title="Limits">
      {limits.map((one) => (
        <OfQueue key={one.queue} one={one} several={limits.length > 1} now={now} />
      ))}
      {hidden && (
        <p class="hint">
          Keys are values of tasks, which are not shown here. <code>millrace limits</code> shows them to
          anyone who can reach Redis.
        </p>
      )}
    </Section>
  );
}

const hidesKeys = ({ kind, held }: LimitRow): boolean => kind === 'perKey' && held > 0;

function OfQueue({ one, several, now }: { one: QueueLimitsView; several: boolean; now: number }) {
  const { queue, by, at, limits, keys } = one;
  return (
    <>
      <p class="sub limits-by">
        {several && <span>queue {queue}</span>}
        <span>
          set by {by} {ago(at, now)}
        </span>
      </p>
      <ul class="limits">
        {limits.map((limit) => (
          <Limit key={limit.kind} limit={limit} />
        ))}
      </ul>
      {keys.length > 0 && (
        <ul class="limits keys" aria-label={`Keys of ${queue} that hold the most tasks`}>
          {keys.map((key) => (
            <Key key={key.key} row={key} now={now} />
          ))}
        </ul>
      )}
    </>
  );
}

function Limit({ limit }: { limit: LimitRow }) {
  const { kind, text, used, most, held } = limit;
  const full = most !== null && used >= most;
  return (
    <li>
      <p class="what">
        <b>{text}</b>
        {held > 0 && <span class="tag warn">holds back {plural(held, 'task')}</span>}
      </p>
      {most !== null && <Bar name={text} used={used} most={most} full={full} />}
      <p class="sub">{fullness(kind, used, most)}</p>
    </li>
  );
}

function fullness(kind: LimitRow['kind'], used: number, most: number | null): string {
  if (kind === 'perKey') return used === 0 ? 'no key waits' : `tasks of ${plural(used, 'key')} wait`;
  if (kind === 'concurrency') return `${formatCount(used)} of ${formatCount(most ?? 0)} in flight`;
  return `${formatCount(Math.max(0, (most ?? 0) - used))} of ${formatCount(most ?? 0)} may begin now`;
}

interface BarProps {
  readonly name: string;
  readonly used: number;
  readonly most: number;
  readonly full: boolean;
}

function Bar({ name, used, most, full }: BarProps) {
  const width = Math.min(1_000, Math.round((1_000 * used) / Math.max(1, most)));
  return (
    <div
      class="bar"
      role="meter"
      aria-label={name}
      aria-valuemin={0}
      aria-valuemax={most}
      aria-valuenow={Math.min(used, most)}
      aria-valuetext={`${formatCount(used)} of ${formatCount(most)}`}
    >
      <svg viewBox="0 0 1000 6" preserveAspectRatio="none" aria-hidden="true">
        <rect class={full ? 'full' : 'succeeded'} x="0" y="0" width={width} height="6" />
      </svg>
    </div>
  );
}

function Key({ row, now }: { row: LimitedKeyRow; now: number }) {
  const { key, held, running, most, nextAt } = row;
  return (
    <li>
      <p class="what">
        <span class="id">{key}</span>
        <span class="tag warn">{formatCount(held)} held</span>
      </p>
      <p class="sub">
        {running !== null && (
          <span>
            {formatCount(running)} of {formatCount(most ?? 0)} in flight
          </span>
        )}
        <span>the next {nextAt === null ? 'when one ends' : ahead(nextAt, now)}</span>
      </p>
    </li>
  );
}

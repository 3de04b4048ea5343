/** The pool's cron tasks: when each was and will be pushed, in the visitor's own time, and what became of the last task. */
import type { CronRow } from '../controller/dashboard/api.ts';
import { ago, ahead, formatCount, minute } from './format.ts';
import { Section } from './section.tsx';

export interface CronListProps {
  /** `undefined` where the controller is of an earlier version. */
  readonly crons: readonly CronRow[] | undefined;
  readonly now: number;
  /** Nothing is pushed. */
  readonly dryRun: boolean;
}

/** Nothing for a pool that has none. */
export function CronList({ crons, now, dryRun }: CronListProps) {
  if (!crons || crons.length === 0) return null;
  const zone = Intl.DateTimeFormat().resolvedOptions().timeZone;
  return (
    <Section title="Cron tasks" note={`times in ${zone}`}>
      <ul class="crons">
        {crons.map((cron) => (
          <Cron key={cron.name} cron={cron} now={now} />
        ))}
      </ul>
      {dryRun && <p class="hint">The pool is in mode DryRun: nothing is pushed.</p>}
    </Section>
  );
}

const OUTCOMES = {
  open: 'waits or runs',
  succeeded: 'succeeded',
  failed: 'failed',
  cancelled: 'cancelled',
} as const;

function Cron({ cron, now }: { cron: CronRow; now: number }) {
  const { name, schedule, timeZone, suspended, next, lastAt, lastTask, outcome, missed, skipped } = cron;
  // one that is due is pushed within a second or two
  const [first, ...later] = next.filter((at) => at > now - 60_000);
  return (
    <li>
      <p class="what">
        <b>{name}</b>
        <code>{schedule}</code>
        <span class="sub">{timeZone}</span>
        {suspended && <span class="tag warn">suspended</span>}
      </p>
      <dl class="pairs">
        <div>
          <dt>Next</dt>
          <dd>
            {first === undefined ? (
              '–'
            ) : (
              <>
                <time dateTime={new Date(first).toISOString()}>{minute(first, now)}</time>{' '}
                <span class="sub">{ahead(first, now)}</span>
                {later.length > 0 && (
                  <span class="sub then">then {later.map((at) => minute(at, now)).join(' · ')}</span>
                )}
              </>
            )}
          </dd>
        </div>
        <div>
          <dt>Last</dt>
          <dd>
            {lastAt === null ? (
              'none yet'
            ) : (
              <>
                <time dateTime={new Date(lastAt).toISOString()}>{minute(lastAt, now)}</time>{' '}
                <span class="sub">{ago(lastAt, now)}</span>
                {outcome !== null && (
                  <span class={outcome === 'failed' ? 'outcome failed' : 'outcome'}>{OUTCOMES[outcome]}</span>
                )}
                {lastTask !== null && <span class="sub then id">{lastTask}</span>}
              </>
            )}
          </dd>
        </div>
        {missed + skipped > 0 && (
          <div>
            <dt>Left out</dt>
            <dd>
              {[
                ...(missed > 0 ? [`${formatCount(missed)} missed`] : []),
                ...(skipped > 0 ? [`${formatCount(skipped)} skipped`] : []),
              ].join(', ')}
            </dd>
          </div>
        )}
      </dl>
    </li>
  );
}

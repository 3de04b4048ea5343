/** One pool: its state, its decisions with their reasons, and its problems. */
import { useMemo } from 'preact/hooks';
import type { About, PastRange, PoolPage, PoolRow } from '../controller/dashboard/api.ts';
import { BatchList } from './batches.tsx';
import { Charts } from './charts.tsx';
import { Conditions } from './conditions.tsx';
import { CronList } from './crons.tsx';
import { DeadLetterList } from './dead.tsx';
import { Decisions } from './decisions.tsx';
import { useFeed, type FeedLink } from './feed.ts';
import { ago, formatCount, formatMs, plural, rate } from './format.ts';
import { Blank, Frame } from './frame.tsx';
import { Icon } from './icons.tsx';
import { LimitList } from './limits.tsx';
import { nameOf, namespaceOf } from './order.ts';
import { usePast } from './past.ts';
import { PauseButton } from './pause.tsx';
import { applyPool, until } from './pool-state.ts';
import { takeTokenFromAddress } from './session.ts';
import { Settings } from './settings.tsx';
import { SourceWorkerList } from './source-workers.tsx';
import { State } from './state.tsx';
import { useNow } from './window.ts';
import { Workers } from './workers.tsx';

takeTokenFromAddress();

export function PoolView({ name: key, range }: { name: string; range: PastRange | undefined }) {
  const path = key.split('/').map(encodeURIComponent).join('/');
  const { whole, link, at, skew } = useFeed<PoolPage>(
    `api/pools/${path}`,
    `pool=${encodeURIComponent(key)}&`,
    applyPool,
  );
  const now = useNow(skew);
  return (
    <Frame about={whole?.about} link={link} at={at} crumb={nameOf(key)}>
      {whole && !(link.state === 'lost' && link.missing) ? (
        <Page
          page={whole}
          range={range}
          live={link.state === 'live'}
          now={link.state === 'live' ? now : at}
        />
      ) : (
        <NotThere name={key} link={link} />
      )}
    </Frame>
  );
}

function NotThere({ name, link }: { name: string; link: FeedLink }) {
  if (link.state !== 'lost')
    return (
      <p class="alone" role="status">
        Loading {name}…
      </p>
    );
  return (
    <Blank
      icon={link.missing ? 'search' : 'alert'}
      title={link.missing ? `There is no pool ${name}` : 'Nothing to show yet'}
    >
      <p>
        {link.missing
          ? 'It may have been deleted, or its controller does not watch that namespace.'
          : `The pool cannot be loaded: ${link.why}. Retrying every few seconds.`}
      </p>
      <a class="button" href="#/">
        All pools
      </a>
    </Blank>
  );
}

interface PageProps {
  readonly page: PoolPage;
  readonly range: PastRange | undefined;
  readonly live: boolean;
  readonly now: number;
}

function Page({ page, range, live, now }: PageProps) {
  const { row, parts, about } = page;
  const step = Math.floor(now / page.series.stepMs);
  const series = useMemo(() => until(page.series, now), [page.series, step]);
  const past = usePast(row.key, range);
  return (
    <article class={live && row.known ? 'pool' : 'pool stale'}>
      <Head row={row} about={about} now={now} paused={parts.pauses.length > 0} own={!parts.source} />
      {row.trouble !== null && (
        <p class="notice bad" role="status">
          <Icon name="alert" />
          <span>
            {row.trouble}
            {!row.known && row.asOf > 0 && ` The numbers below are from ${ago(row.asOf, now)}.`}
          </span>
        </p>
      )}
      {parts.pauses.map(({ queue, at, reason }) => (
        <p key={queue} class="notice" role="status">
          <Icon name="pause" />
          <span>
            Queue {queue} has been paused since {ago(at, now)}
            {reason === '' ? '.' : `: ${reason}.`} Running tasks finish; none are started.
          </span>
        </p>
      ))}
      <Figures row={row} own={!parts.source} />
      <Charts
        pool={row.key}
        live={series}
        range={range}
        past={past}
        decisions={parts.decisions}
        targetMs={row.targetMs}
        now={now}
      />
      <div class="columns">
        <div>
          <BatchList pool={row.key} batches={parts.batches} about={about} now={now} />
          <Decisions decisions={parts.decisions} now={now} />
          {!parts.source && <DeadLetterList pool={row.key} dead={parts.dead} about={about} now={now} />}
        </div>
        <div>
          {parts.source ? (
            <SourceWorkerList source={parts.source} />
          ) : (
            <Workers workers={parts.workers} now={now} showTasks={about.showTasks} />
          )}
          <LimitList limits={parts.limits} showTasks={about.showTasks} now={now} />
          <CronList crons={parts.crons} now={now} dryRun={row.mode === 'DryRun'} />
          <Conditions conditions={parts.conditions} now={now} />
          <Settings groups={parts.settings} />
        </div>
      </div>
    </article>
  );
}

interface HeadProps {
  readonly row: PoolRow;
  readonly about: About;
  readonly now: number;
  readonly paused: boolean;
  /** Its tasks are Millrace's, not those of another library. */
  readonly own: boolean;
}

function Head({ row, about, now, paused, own }: HeadProps) {
  return (
    <header class="pool-head">
      <div>
        <h1>{nameOf(row.key)}</h1>
        <p class="under">
          <State row={row} />
          <span>namespace {namespaceOf(row.key)}</span>
          <span>
            {row.queue.includes(',') ? 'queues' : 'queue'} {row.queue}
          </span>
        </p>
        {row.decision !== null && (
          <p class="latest">
            {row.decision}
            {row.decidedAt !== null && <span class="sub"> {ago(row.decidedAt, now)}</span>}
          </p>
        )}
      </div>
      {own && <PauseButton pool={row.key} about={about} paused={paused} known={row.known} />}
    </header>
  );
}

function Figures({ row, own }: { row: PoolRow; own: boolean }) {
  const late = row.waitP95 !== null && row.targetMs !== null && row.waitP95 > row.targetMs;
  const figures: { name: string; value: string; more: string; tone?: 'bad' | undefined }[] = [
    {
      name: 'Waiting',
      value: formatCount(row.waiting),
      more: row.delayed > 0 ? `${formatCount(row.delayed)} more delayed` : 'none delayed',
    },
    { name: 'In flight', value: formatCount(row.inFlight), more: `finishing ${rate(row.finishing)}` },
    {
      name: 'Replicas ready',
      value:
        row.ready === row.desired
          ? formatCount(row.ready)
          : `${formatCount(row.ready)} → ${formatCount(row.desired)}`,
      more: `${formatCount(row.replicas)} current, at most ${formatCount(row.maxReplicas)}`,
    },
    {
      name: 'Wait, p95',
      value: row.waitP95 === null ? '–' : formatMs(row.waitP95),
      more: [
        row.waitP50 === null ? 'nothing taken lately' : `p50 ${formatMs(row.waitP50)}`,
        row.targetMs === null ? '' : `target ${formatMs(row.targetMs)}`,
      ]
        .filter(Boolean)
        .join(', '),
      tone: late ? 'bad' : undefined,
    },
    { name: 'Arriving', value: rate(row.arriving), more: 'over the last minute' },
    {
      name: own ? 'Dead letters' : 'Failed',
      value: formatCount(row.dead),
      more: row.dead > 0 ? `${plural(row.dead, 'task')} failed for good` : 'nothing failed for good',
    },
  ];
  return (
    <dl class="totals figures">
      {figures.map(({ name, value, more, tone }) => (
        <div key={name} class={tone}>
          <dt>{name}</dt>
          <dd>
            {value}
            <span class="sub">{more}</span>
          </dd>
        </div>
      ))}
    </dl>
  );
}

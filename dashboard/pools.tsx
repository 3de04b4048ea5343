/** The list of pools: an overview of all of them, with search and filters. */
import type { RefObject } from 'preact';
import { useEffect, useLayoutEffect, useMemo, useRef, useState } from 'preact/hooks';
import type { Overview, PoolRow } from '../controller/dashboard/api.ts';
import { useFeed } from './feed.ts';
import { formatCount, plural } from './format.ts';
import { Blank, Frame } from './frame.tsx';
import { arrange, counts, filters, type Filter, type Order } from './order.ts';
import { applyOverview } from './overview.ts';
import { PoolTable } from './pool-table.tsx';
import { takeTokenFromAddress } from './session.ts';
import { useNow } from './window.ts';

takeTokenFromAddress();

/** How the list was left, for when one comes back to it. */
export interface ListView {
  readonly search: string;
  readonly filter: Filter;
  readonly order: Order;
  /** From the top of the page, CSS pixels. */
  readonly scrolled: number;
}

export function PoolsView({ kept }: { kept: RefObject<ListView> }) {
  const { whole, link, at, skew } = useFeed<Overview>('api/pools', '', applyOverview);
  const now = useNow(skew);
  const pools = whole?.pools;
  return (
    <Frame about={whole?.about} link={link} at={at}>
      {pools && pools.length > 0 ? (
        <Pools pools={pools} now={now} kept={kept} />
      ) : pools ? (
        <NoPools host={whole.about.host} />
      ) : link.state === 'lost' ? (
        <Blank icon="alert" title="Nothing to show yet">
          <p>The pools cannot be loaded: {link.why}. Retrying every few seconds.</p>
        </Blank>
      ) : (
        <p class="alone" role="status">
          Loading pools…
        </p>
      )}
    </Frame>
  );
}

function NoPools({ host }: { host: 'controller' | 'dev' }) {
  return (
    <Blank icon="wheel" title="No pools yet">
      <p>
        {host === 'dev'
          ? 'The pool of this machine is about to start.'
          : 'There is no WorkerPool that this controller manages. The first one appears here as soon as it is created:'}
      </p>
      {host === 'controller' && <pre tabIndex={0}>{FIRST_POOL}</pre>}
    </Blank>
  );
}

const FIRST_POOL = `kubectl apply -f - <<EOF
apiVersion: millrace.dev/v1alpha1
kind: WorkerPool
metadata: { name: greet }
spec:
  redis: { url: redis://my-redis:6379 }
  queue: task_queue
  scaling: { targetWait: 10s }
  template:
    spec:
      containers:
        - name: worker
          image: millrace/worker
          args: [--command, "sed s/^/hello,\\\\ /"]
EOF`;

const FILTER_WORDS: Record<Filter, string> = {
  all: 'All',
  trouble: 'Trouble',
  working: 'Working',
  idle: 'Idle',
  paused: 'Paused',
};

interface PoolsProps {
  readonly pools: readonly PoolRow[];
  readonly now: number;
  readonly kept: RefObject<ListView>;
}

function Pools({ pools, now, kept }: PoolsProps) {
  const [search, setSearch] = useState(kept.current.search);
  const [filter, setFilter] = useState(kept.current.filter);
  const [order, setOrder] = useState(kept.current.order);
  const left = useRef<Omit<ListView, 'scrolled'>>(kept.current);
  left.current = { search, filter, order };
  useLayoutEffect(() => {
    window.scrollTo(0, kept.current.scrolled);
    return () => {
      kept.current = { ...left.current, scrolled: window.scrollY };
    };
  }, []);
  const shown = useMemo(() => arrange(pools, search, filter, order), [pools, search, filter, order]);
  const found = counts(pools);
  return (
    <>
      <h1 class="sr">Pools</h1>
      <Totals pools={pools} troubled={found.trouble} />
      <div class="finder">
        <Search value={search} onChange={setSearch} />
        <div class="filters" role="group" aria-label="Which pools are shown">
          {filters.map((name) => (
            <button
              key={name}
              type="button"
              class={`chip ${name}`}
              aria-pressed={filter === name}
              onClick={() => setFilter(name)}
            >
              {FILTER_WORDS[name]} <span class="n">{formatCount(found[name])}</span>
            </button>
          ))}
        </div>
        <p class="shown" role="status">
          {shown.length === pools.length ? '' : `${plural(shown.length, 'pool')} shown`}
        </p>
      </div>
      {shown.length > 0 ? (
        <PoolTable rows={shown} order={order} onOrder={setOrder} now={now} />
      ) : (
        <Blank icon="search" title="No matching pools">
          <p>
            None of {plural(pools.length, 'pool')} is {filter === 'all' ? 'called' : `${filter} and called`}{' '}
            {search === '' ? 'anything' : `“${search}”`}.
          </p>
          <button
            type="button"
            class="button"
            onClick={() => {
              setSearch('');
              setFilter('all');
            }}
          >
            Show all pools
          </button>
        </Blank>
      )}
    </>
  );
}

function Totals({ pools, troubled }: { pools: readonly PoolRow[]; troubled: number }) {
  const sum = (of: (row: PoolRow) => number): number => pools.reduce((total, row) => total + of(row), 0);
  const totals: [name: string, value: string, tone?: string | undefined][] = [
    ['Pools', formatCount(pools.length)],
    ['Waiting', formatCount(sum((row) => row.waiting))],
    ['In flight', formatCount(sum((row) => row.inFlight))],
    [
      'Replicas ready',
      `${formatCount(sum((row) => row.ready))} of ${formatCount(sum((row) => row.desired))}`,
    ],
    ['Dead letters', formatCount(sum((row) => row.dead))],
    ['In trouble', formatCount(troubled), troubled > 0 ? 'bad' : undefined],
  ];
  return (
    <dl class="totals">
      {totals.map(([name, value, tone]) => (
        <div key={name} class={tone}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

function Search({ value, onChange }: { value: string; onChange: (text: string) => void }) {
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const press = (event: KeyboardEvent): void => {
      const typing =
        event.target instanceof HTMLElement && event.target.closest('input, textarea, select, dialog');
      if (event.key !== '/' || typing || event.ctrlKey || event.metaKey || event.altKey) return;
      event.preventDefault();
      field.current?.focus();
    };
    window.addEventListener('keydown', press);
    return () => window.removeEventListener('keydown', press);
  }, []);
  return (
    <label class="search">
      <span class="sr">Search by name, namespace or queue</span>
      <input
        ref={field}
        type="search"
        placeholder="Search pools, or press /"
        value={value}
        onInput={(event) => onChange(event.currentTarget.value)}
        autocomplete="off"
        spellcheck={false}
      />
    </label>
  );
}

/**
 * Writes the Grafana dashboard of the chart, `charts/millrace/dashboards/millrace.json`, from the list of panels below: a
 * dashboard's own JSON is a hundred lines a panel. With `--check` it writes nothing and fails when the file is not what it
 * would write; a change made in Grafana belongs in here.
 */
import { runGenerator } from './generated.ts';

type Query = readonly [expr: string, legend: string];

interface Panel {
  readonly title: string;
  readonly about: string;
  readonly unit: 'short' | 's' | 'ops' | 'percentunit' | 'bytes';
  readonly kind?: 'timeseries' | 'stat' | 'table';
  readonly queries: readonly Query[];
}

/** Series of the selected pools; those of the controller's other replicas are gone or stale. */
const POOL = '{namespace=~"$namespace",pool=~"$pool"}';
const BY = 'by (namespace, pool)';
const NAME = '{{namespace}}/{{pool}}';

const latest = (metric: string): string => `max ${BY} (${metric}${POOL})`;
const rate = (metric: string, selector = POOL): string =>
  `sum ${BY} (rate(${metric}${selector}[$__rate_interval]))`;
const quantile = (q: number, metric: string, by = 'namespace, pool', selector = POOL): string =>
  `histogram_quantile(${q}, sum by (le, ${by}) (rate(${metric}_bucket${selector}[$__rate_interval])))`;
const quantiles = (metric: string): Query[] => [
  [quantile(0.5, metric), `p50 ${NAME}`],
  [quantile(0.95, metric), `p95 ${NAME}`],
];

const ENDED = ['completed', 'failed', 'retried']
  .map((what) => rate(`millrace_pool_tasks_${what}_total`))
  .join(' + ');

const rows: readonly { readonly title: string; readonly panels: readonly Panel[] }[] = [
  {
    title: 'Now',
    panels: [
      stat('Waiting', 'Tasks in the queues.', `sum(${latest('millrace_queue_length')})`),
      stat('In flight', 'Tasks that workers hold.', `sum(${latest('millrace_tasks_in_flight')})`),
      stat('Replicas', 'That exist.', `sum(${latest('millrace_pool_replicas')})`),
      stat('Dead letters', 'Tasks that failed for good.', `sum(${latest('millrace_dead_letters')})`),
      stat(
        'Pools not ready',
        'Their condition Ready says why.',
        `count(${latest('millrace_pool_not_ready')}) or vector(0)`,
      ),
      stat('Leaders', '1, or nothing is scaled.', 'sum(max by (job) (millrace_leader))'),
    ],
  },
  {
    title: 'Pools',
    panels: [
      panel('Waiting and in flight', 'What there is to do.', 'short', [
        [latest('millrace_queue_length'), `waiting ${NAME}`],
        [latest('millrace_tasks_in_flight'), `in flight ${NAME}`],
      ]),
      panel('Replicas', 'What the decisions ask for, what is ready, and the bound.', 'short', [
        [latest('millrace_pool_desired_replicas'), `desired ${NAME}`],
        [latest('millrace_pool_ready_replicas'), `ready ${NAME}`],
        [latest('millrace_pool_max_replicas'), `max ${NAME}`],
      ]),
      panel('Wait', 'How long taken tasks had waited, and the target.', 's', [
        ...quantiles('millrace_task_wait_seconds'),
        [latest('millrace_pool_target_wait_seconds'), `target ${NAME}`],
      ]),
      panel('Late tasks', 'The share that waited for longer than the target.', 'percentunit', [
        [`${rate('millrace_pool_tasks_late_total')} / ${rate('millrace_pool_tasks_taken_total')}`, NAME],
      ]),
      panel(
        'Tasks a second',
        'What came, was taken and ended.',
        'ops',
        ['arrived', 'taken', 'completed', 'failed', 'retried'].map((what): Query => [
          rate(`millrace_pool_tasks_${what}_total`),
          `${what} ${NAME}`,
        ]),
      ),
      panel('Service time', 'Mean, as the queue has it; p95 where workers are scraped.', 's', [
        [`${rate('millrace_pool_service_seconds_total')} / (${ENDED})`, `mean ${NAME}`],
        [quantile(0.95, 'millrace_task_service_seconds'), `p95 ${NAME}`],
      ]),
      panel(
        'Start of replicas',
        'From asking for one until it is ready.',
        's',
        quantiles('millrace_replica_start_seconds'),
      ),
      panel(
        'Wake',
        'From hearing of the first task in a quiet queue until the decision was carried out.',
        's',
        quantiles('millrace_wake_seconds'),
      ),
      panel('Delayed and dead', 'Retries and scheduled tasks; tasks that failed for good.', 'short', [
        [latest('millrace_tasks_delayed'), `delayed ${NAME}`],
        [latest('millrace_dead_letters'), `dead ${NAME}`],
      ]),
      {
        ...panel('Not ready', 'Pools whose condition Ready is False, and its reason.', 'short', [
          [`max by (namespace, pool, reason) (millrace_pool_not_ready${POOL})`, '{{reason}}'],
        ]),
        kind: 'table',
      },
    ],
  },
  {
    title: 'Workers (where a PodMonitor scrapes them)',
    panels: [
      panel('Tasks a second by outcome', 'What ended in workers.', 'ops', [
        [
          `sum by (queue, outcome) (rate(millrace_tasks_finished_total${POOL}[$__rate_interval]))`,
          '{{queue}} {{outcome}}',
        ],
      ]),
      panel('Turns', 'Round trips to Redis that settle and take tasks.', 's', [
        [quantile(0.5, 'millrace_turn_seconds', 'queue'), 'p50 {{queue}}'],
        [quantile(0.99, 'millrace_turn_seconds', 'queue'), 'p99 {{queue}}'],
      ]),
      panel('Busy slots', 'Of those that there are.', 'percentunit', [
        [`sum ${BY} (millrace_worker_slots_busy${POOL}) / sum ${BY} (millrace_worker_slots${POOL})`, NAME],
      ]),
      panel('Trouble', 'Errors of Redis, lost leases, and what replicas did not confirm.', 'ops', [
        [
          `sum by (namespace, pool, operation) (rate(millrace_redis_errors_total${POOL}[$__rate_interval]))`,
          `{{operation}} ${NAME}`,
        ],
        [rate('millrace_worker_fenced_total'), `leases lost ${NAME}`],
        [rate('millrace_tasks_not_replicated_total'), `not replicated ${NAME}`],
      ]),
      panel('Memory of workers', 'Resident, of each.', 'bytes', [
        [`process_resident_memory_bytes${POOL}`, '{{pod}}'],
      ]),
      panel('Processors', 'Used by workers.', 'short', [[rate('process_cpu_seconds_total'), NAME]]),
    ],
  },
  {
    title: 'Controller',
    panels: [
      panel('Reconciles', 'How long they take.', 's', [
        [quantile(0.5, 'millrace_reconcile_seconds', 'outcome', ''), 'p50 {{outcome}}'],
        [quantile(0.99, 'millrace_reconcile_seconds', 'outcome', ''), 'p99 {{outcome}}'],
      ]),
      panel('Reconciles a second', 'By outcome, and pools that wait for one.', 'ops', [
        ['sum by (outcome) (rate(millrace_reconcile_seconds_count[$__rate_interval]))', '{{outcome}}'],
        ['max by (job) (millrace_workqueue_depth)', 'waiting'],
      ]),
      panel('Scale actions', 'In five minutes.', 'short', [
        [
          'sum by (direction, reason) (increase(millrace_scale_actions_total[5m]))',
          '{{direction}} {{reason}}',
        ],
      ]),
      panel('Lost workers', 'Whose tasks were put back, in five minutes.', 'short', [
        ['sum by (reason) (increase(millrace_recoveries_total[5m]))', '{{reason}}'],
      ]),
      panel('Watches', 'Restarts in five minutes.', 'short', [
        ['sum by (resource) (delta(millrace_watch_restarts[5m]))', '{{resource}}'],
      ]),
      panel('Process', 'Processors used, and how late its event loop is.', 'short', [
        [
          'rate(process_cpu_seconds_total[$__rate_interval]) and on (instance) millrace_leader',
          'processors {{pod}}',
        ],
        ['nodejs_eventloop_lag_p99_seconds and on (instance) millrace_leader', 'lag p99, s {{pod}}'],
      ]),
      panel('Memory of the controller', 'Resident.', 'bytes', [
        ['process_resident_memory_bytes and on (instance) millrace_leader', '{{pod}}'],
      ]),
    ],
  },
];

function panel(title: string, about: string, unit: Panel['unit'], queries: readonly Query[]): Panel {
  return { title, about, unit, queries };
}

function stat(title: string, about: string, expr: string): Panel {
  return { title, about, unit: 'short', kind: 'stat', queries: [[expr, title]] };
}

const datasource = { type: 'prometheus', uid: '${datasource}' };

/** Grafana's grid is 24 wide. */
const WIDTH = { timeseries: 12, stat: 4, table: 12 };
const HEIGHT = { timeseries: 8, stat: 4, table: 8 };

function panels(): object[] {
  const placed: object[] = [];
  let y = 0;
  for (const row of rows) {
    placed.push({
      id: placed.length + 1,
      type: 'row',
      title: row.title,
      collapsed: false,
      panels: [],
      gridPos: { x: 0, y: y++, w: 24, h: 1 },
    });
    let x = 0;
    for (const one of row.panels) {
      const kind = one.kind ?? 'timeseries';
      const [w, h] = [WIDTH[kind], HEIGHT[kind]];
      placed.push(panelJson(one, kind, placed.length + 1, { x, y, w, h }));
      x = (x + w) % 24;
      if (x === 0 || one === row.panels.at(-1)) y += h;
      if (one === row.panels.at(-1)) x = 0;
    }
  }
  return placed;
}

function panelJson(
  { title, about, unit, queries }: Panel,
  type: string,
  id: number,
  gridPos: object,
): object {
  const custom =
    type === 'timeseries' ? { custom: { lineWidth: 1, fillOpacity: 5, showPoints: 'never' } } : {};
  return {
    id,
    type,
    title,
    description: about,
    datasource,
    gridPos,
    fieldConfig: { defaults: { unit, min: 0, ...custom }, overrides: [] },
    options:
      type === 'timeseries'
        ? { legend: { displayMode: 'list', placement: 'bottom' }, tooltip: { mode: 'multi', sort: 'desc' } }
        : type === 'stat'
          ? { reduceOptions: { calcs: ['lastNotNull'] }, colorMode: 'value', graphMode: 'area' }
          : {},
    targets: queries.map(([expr, legendFormat], i) => ({
      refId: String.fromCodePoint(65 + i),
      datasource,
      expr,
      legendFormat,
      ...(type === 'table' ? { instant: true, format: 'table' } : {}),
    })),
  };
}

function variable(name: string, query: string): object {
  return {
    name,
    label: name,
    type: 'query',
    datasource,
    query: { query, refId: name },
    definition: query,
    includeAll: true,
    multi: true,
    allValue: '.*',
    current: { selected: true, text: ['All'], value: ['$__all'] },
    refresh: 2,
    sort: 1,
  };
}

/** The dashboard's JSON. */
export function dashboard(): string {
  const model = {
    uid: 'millrace',
    title: 'Millrace',
    description: 'WorkerPools: what waits, what runs, what was decided, and how long tasks wait for it.',
    tags: ['millrace', 'kubernetes', 'redis'],
    schemaVersion: 39,
    version: 1,
    editable: true,
    graphTooltip: 1,
    refresh: '10s',
    time: { from: 'now-1h', to: 'now' },
    templating: {
      list: [
        { name: 'datasource', label: 'data source', type: 'datasource', query: 'prometheus', current: {} },
        variable('namespace', 'label_values(millrace_pool_replicas, namespace)'),
        variable('pool', 'label_values(millrace_pool_replicas{namespace=~"$namespace"}, pool)'),
      ],
    },
    annotations: { list: [] },
    panels: panels(),
  };
  return `${JSON.stringify(model, undefined, 2)}\n`;
}

if (import.meta.main)
  await runGenerator('grafana.ts', {
    description: 'Writes the Grafana dashboard of the chart.',
    source: 'scripts/grafana.ts',
    command: 'npm run docs',
    documents: () => ({ 'charts/millrace/dashboards/millrace.json': dashboard() }),
  });

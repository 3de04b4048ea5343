/**
 * The panels of the chart's Grafana dashboard: what each shows and by which queries. grafana.ts makes Grafana's JSON of them.
 */
type Query = readonly [expr: string, legend: string];

export interface GrafanaPanel {
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

/** The dashboard, top to bottom. */
export const rows: readonly { readonly title: string; readonly panels: readonly GrafanaPanel[] }[] = [
  {
    title: 'Now',
    panels: [
      stat('Waiting', 'Tasks in the queues.', `sum(${latest('millrace_queue_length')})`),
      stat('In flight', 'Tasks that workers hold.', `sum(${latest('millrace_tasks_in_flight')})`),
      stat('Replicas', 'Replicas that exist.', `sum(${latest('millrace_pool_replicas')})`),
      stat('Dead letters', 'Tasks that failed for good.', `sum(${latest('millrace_dead_letters')})`),
      stat(
        'Pools not ready',
        'The reason is in their condition Ready.',
        `count(${latest('millrace_pool_not_ready')}) or vector(0)`,
      ),
      stat('Leaders', 'Must be 1: otherwise nothing is scaled.', 'sum(max by (job) (millrace_leader))'),
    ],
  },
  {
    title: 'Pools',
    panels: [
      panel('Waiting and in flight', 'Tasks in the queues, and tasks that workers hold.', 'short', [
        [latest('millrace_queue_length'), `waiting ${NAME}`],
        [latest('millrace_tasks_in_flight'), `in flight ${NAME}`],
      ]),
      panel('Replicas', 'Desired and ready replicas, and maxReplicas.', 'short', [
        [latest('millrace_pool_desired_replicas'), `desired ${NAME}`],
        [latest('millrace_pool_ready_replicas'), `ready ${NAME}`],
        [latest('millrace_pool_max_replicas'), `max ${NAME}`],
      ]),
      panel('Wait', 'How long taken tasks had waited, and the target.', 's', [
        ...quantiles('millrace_task_wait_seconds'),
        [latest('millrace_pool_target_wait_seconds'), `target ${NAME}`],
      ]),
      panel('Late tasks', 'Share of tasks that waited longer than the target.', 'percentunit', [
        [`${rate('millrace_pool_tasks_late_total')} / ${rate('millrace_pool_tasks_taken_total')}`, NAME],
      ]),
      panel(
        'Tasks a second',
        'Tasks that arrived, were taken, and ended.',
        'ops',
        ['arrived', 'taken', 'completed', 'failed', 'retried'].map((what): Query => [
          rate(`millrace_pool_tasks_${what}_total`),
          `${what} ${NAME}`,
        ]),
      ),
      panel('Service time', 'Mean over all workers; p95 where workers are scraped.', 's', [
        [`${rate('millrace_pool_service_seconds_total')} / (${ENDED})`, `mean ${NAME}`],
        [quantile(0.95, 'millrace_task_service_seconds'), `p95 ${NAME}`],
      ]),
      panel(
        'Start of replicas',
        'From the decision until a replica is ready.',
        's',
        quantiles('millrace_replica_start_seconds'),
      ),
      panel(
        'Wake',
        'From the notification of the first task in an idle queue until the decision was carried out.',
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
      panel('Tasks a second by outcome', 'Tasks that workers finished.', 'ops', [
        [
          `sum by (queue, outcome) (rate(millrace_tasks_finished_total${POOL}[$__rate_interval]))`,
          '{{queue}} {{outcome}}',
        ],
      ]),
      panel('Turns', 'Round trips to Redis that settle and take tasks.', 's', [
        [quantile(0.5, 'millrace_turn_seconds', 'queue'), 'p50 {{queue}}'],
        [quantile(0.99, 'millrace_turn_seconds', 'queue'), 'p99 {{queue}}'],
      ]),
      panel('Busy slots', 'Share of all slots.', 'percentunit', [
        [`sum ${BY} (millrace_worker_slots_busy${POOL}) / sum ${BY} (millrace_worker_slots${POOL})`, NAME],
      ]),
      panel('Trouble', 'Redis errors, lost leases, and settled tasks that replicas did not confirm.', 'ops', [
        [
          `sum by (namespace, pool, operation) (rate(millrace_redis_errors_total${POOL}[$__rate_interval]))`,
          `{{operation}} ${NAME}`,
        ],
        [rate('millrace_worker_fenced_total'), `leases lost ${NAME}`],
        [rate('millrace_tasks_not_replicated_total'), `not replicated ${NAME}`],
      ]),
      panel('Memory of workers', 'Resident memory of each worker.', 'bytes', [
        [`process_resident_memory_bytes${POOL}`, '{{pod}}'],
      ]),
      panel('Processors', 'Processors that workers use.', 'short', [
        [rate('process_cpu_seconds_total'), NAME],
      ]),
    ],
  },
  {
    title: 'Controller',
    panels: [
      panel('Reconciles', 'Duration of reconciles.', 's', [
        [quantile(0.5, 'millrace_reconcile_seconds', 'outcome', ''), 'p50 {{outcome}}'],
        [quantile(0.99, 'millrace_reconcile_seconds', 'outcome', ''), 'p99 {{outcome}}'],
      ]),
      panel('Reconciles a second', 'By outcome, and the number of pools that wait for one.', 'ops', [
        ['sum by (outcome) (rate(millrace_reconcile_seconds_count[$__rate_interval]))', '{{outcome}}'],
        ['max by (job) (millrace_workqueue_depth)', 'waiting'],
      ]),
      panel('Scale actions', 'In five minutes.', 'short', [
        [
          'sum by (direction, reason) (increase(millrace_scale_actions_total[5m]))',
          '{{direction}} {{reason}}',
        ],
      ]),
      panel('Lost workers', 'Workers whose tasks were put back, in five minutes.', 'short', [
        ['sum by (reason) (increase(millrace_recoveries_total[5m]))', '{{reason}}'],
      ]),
      panel('Watches', 'Restarts in five minutes.', 'short', [
        ['sum by (resource) (delta(millrace_watch_restarts[5m]))', '{{resource}}'],
      ]),
      panel('Process', 'Processors used, and the lag of the event loop.', 'short', [
        [
          'rate(process_cpu_seconds_total[$__rate_interval]) and on (instance) millrace_leader',
          'processors {{pod}}',
        ],
        ['nodejs_eventloop_lag_p99_seconds and on (instance) millrace_leader', 'lag p99, s {{pod}}'],
      ]),
      panel('Memory of the controller', 'Resident memory.', 'bytes', [
        ['process_resident_memory_bytes and on (instance) millrace_leader', '{{pod}}'],
      ]),
    ],
  },
];

function panel(
  title: string,
  about: string,
  unit: GrafanaPanel['unit'],
  queries: readonly Query[],
): GrafanaPanel {
  return { title, about, unit, queries };
}

function stat(title: string, about: string, expr: string): GrafanaPanel {
  return { title, about, unit: 'short', kind: 'stat', queries: [[expr, title]] };
}

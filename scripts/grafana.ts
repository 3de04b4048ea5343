/**
 * Writes the Grafana dashboard of the chart, `charts/millrace/dashboards/millrace.json`, from the panels in grafana-panels.ts: a
 * dashboard's own JSON is a hundred lines a panel. With `--check` it writes nothing and fails when the file is not what it
 * would write; a change made in Grafana belongs there.
 */
import { runGenerator } from './generated.ts';
import { rows, type GrafanaPanel } from './grafana-panels.ts';

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
  { title, about, unit, queries }: GrafanaPanel,
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
    description: 'WorkerPools: waiting and running tasks, replicas, and how long tasks wait.',
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
    source: 'scripts/grafana-panels.ts',
    command: 'npm run docs',
    documents: () => ({ 'charts/millrace/dashboards/millrace.json': dashboard() }),
  });

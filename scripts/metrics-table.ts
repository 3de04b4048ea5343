/**
 * Writes the tables of docs/metrics.md, of metrics and of alerts, from the code and from the chart. With `--check` it writes
 * nothing and fails when the file is not what it would write, so that a table is never edited by hand.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parse } from 'yaml';
import { controllerMetrics } from '../controller/observe/metrics.ts';
import {
  notReadyGauge,
  poolCounters,
  poolGauges,
  poolHistograms,
  sampledGauge,
} from '../controller/observe/pool-metrics.ts';
import { createWorkerMetrics } from '../worker/process/metrics.ts';
import { withTable, runGenerator } from './generated.ts';

const root = join(import.meta.dirname, '..');
const FILE = 'docs/metrics.md';

interface Row {
  readonly name: string;
  readonly type: string;
  readonly labels: readonly string[];
  readonly help: string;
}

interface Rules {
  readonly groups: readonly { readonly rules: readonly Alert[] }[];
}

interface Alert {
  readonly alert: string;
  readonly for?: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly description: string; readonly runbook: string };
}

function table(rows: readonly Row[]): string {
  const lines = rows
    .toSorted((a, b) => a.name.localeCompare(b.name))
    .map(({ name, type, labels, help }) => {
      const named = labels.map((label) => `\`${label}\``).join(', ');
      return `| \`${name}\` | ${type} | ${named} | ${help} |`;
    });
  return ['| metric | type | labels | what |', '| --- | --- | --- | --- |', ...lines].join('\n');
}

/** Counters are recognized by their name, as in Prometheus; prom-client's own metrics report their type. */
const typeOf = (name: string): string =>
  name.endsWith('_total') ? 'counter' : name === 'millrace_reconcile_seconds' ? 'histogram' : 'gauge';

function alerts(): string {
  const rules = parse(readFileSync(join(root, 'charts/millrace/alerts/rules.yaml'), 'utf8')) as Rules;
  const lines = rules.groups
    .flatMap((group) => group.rules)
    .map(({ alert, for: patience = '', labels, annotations: { description, runbook } }) => {
      const about = description
        .replaceAll(/\{\{ \$labels\.(\w+) \}\}/g, '{$1}')
        .replaceAll(/\{\{.*?\}\}/g, '…');
      return `| \`${alert}\` | ${labels.severity} | ${patience} | ${about} | ${runbook} |`;
    });
  const head = ['| alert | severity | for | what it says | what to do |', '| --- | --- | --- | --- | --- |'];
  return [...head, ...lines].join('\n').replaceAll(' \n', '\n');
}

/** The tables, by the name of their markers in the document. */
function tables(): Record<string, string> {
  const own = ['namespace', 'pool'];
  const each = (type: string, rows: readonly { name: string; help: string }[], more: string[] = []): Row[] =>
    rows.map(({ name, help }) => ({ name, type, labels: [...own, ...more], help }));
  const pools = [
    ...each('gauge', [...poolGauges, sampledGauge]),
    ...each('gauge', [notReadyGauge], ['reason']),
    ...each('counter', poolCounters),
    ...each('histogram', Object.values(poolHistograms)),
  ];
  const controller = Object.values(controllerMetrics).map(({ name, help, ...more }): Row => ({
    name,
    help,
    type: typeOf(name),
    labels: 'labelNames' in more ? more.labelNames : [],
  }));
  return {
    pools: table(pools),
    controller: table(controller),
    worker: table(createWorkerMetrics().tallies),
    alerts: alerts(),
  };
}

/** The document with its current tables. Throws `Error` if it lacks the place for one. */
export function withTables(text: string): string {
  return Object.entries(tables()).reduce(
    (written, [name, content]) => withTable(FILE, written, name, content),
    text,
  );
}

if (import.meta.main)
  await runGenerator('metrics-table.ts', {
    description: 'Writes the tables of metrics and alerts in docs/metrics.md.',
    source: 'the code',
    command: 'npm run docs',
    documents: () => ({ [FILE]: withTables(readFileSync(join(root, FILE), 'utf8')) }),
  });

/** The chart's alerts by promtool: they are rules, and each of them fires when it should and not otherwise. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { dashboard } from '../../scripts/grafana.ts';
import { promtool } from '../support/prometheus.ts';

const root = join(import.meta.dirname, '../..');
const RULES = join(root, 'charts/millrace/alerts/rules.yaml');
const TESTS = join(root, 'test/fixtures/alerts.yaml');

interface Rules {
  groups: {
    rules: { alert: string; labels: Record<string, string>; annotations: Record<string, string> }[];
  }[];
}

test('promtool takes the rules, and its unit tests of them pass', async () => {
  expect((await promtool(['check', 'rules', '--lint=all', '--lint-fatal', RULES])).code).toBe(0);
  const ran = await promtool(['test', 'rules', TESTS]);
  expect(ran, ran.said).toMatchObject({ code: 0 });
});

test('each alert is tested, has a severity and a remedy', async () => {
  const { groups } = parse(await readFile(RULES, 'utf8')) as Rules;
  const tests = await readFile(TESTS, 'utf8');
  for (const { alert, labels, annotations } of groups.flatMap(({ rules }) => rules)) {
    expect(tests).toContain(alert);
    expect(labels['severity']).toMatch(/^(critical|warning)$/);
    expect(Object.keys(annotations)).toEqual(['summary', 'description', 'runbook']);
    for (const text of Object.values(annotations)) expect(text.length).toBeGreaterThan(10);
  }
});

test('the dashboard is what scripts/grafana-panels.ts makes; npm run docs writes it', async () => {
  const file = join(root, 'charts/millrace/dashboards/millrace.json');
  expect(await readFile(file, 'utf8')).toBe(dashboard());
});

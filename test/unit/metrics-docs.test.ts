import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { withValues } from '../../scripts/chart-readme.ts';
import { withTables } from '../../scripts/metrics-table.ts';

test('docs/metrics.md is what `npm run docs` writes', () => {
  const text = readFileSync(join(import.meta.dirname, '../../docs/metrics.md'), 'utf8');
  expect(text).toContain('| `millrace_task_wait_seconds` | histogram | `namespace`, `pool` |');
  expect(withTables(text)).toBe(text);
  const edited = text.replace('millrace_queue_length', 'millrace_queue_size');
  expect(withTables(edited)).toBe(text);
});

test("the chart's README is what `npm run docs` writes", () => {
  const text = readFileSync(join(import.meta.dirname, '../../charts/millrace/README.md'), 'utf8');
  expect(text).toContain('| `monitoring.alerts.enabled` | `false` | The alerts in alerts/rules.yaml');
  expect(withValues(text)).toBe(text);
});

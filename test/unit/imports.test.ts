/** Holds the directions in which folders may import one another (ARCHITECTURE.md, "Where things live"). */
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { expect, test } from 'vitest';

const root = resolve(import.meta.dirname, '../..');

/** Folder → folders whose modules it may import. */
const allowed: Record<string, readonly string[]> = {
  runtime: ['runtime'],
  queue: ['queue', 'runtime'],
  kube: ['kube', 'runtime'],
  controller: ['controller', 'queue', 'kube', 'runtime'],
  worker: ['worker', 'queue', 'runtime'],
  simulate: ['simulate', 'controller'],
  cli: ['cli', 'controller', 'worker', 'simulate', 'queue', 'kube', 'runtime'],
  // a page in a browser: of the others it knows types
  dashboard: ['dashboard', 'controller'],
};

/** Files that are pure: they import types, and one another. */
const pure = new Set([
  'controller/decide/target-wait/advice.ts',
  'controller/decide/target-wait/arrivals.ts',
  'controller/decide/cron.ts',
  'controller/dashboard/api.ts',
  'controller/dashboard/buckets.ts',
  'controller/dashboard/leader.ts',
  'controller/dashboard/row.ts',
  'controller/dashboard/series.ts',
  'controller/dashboard/settings.ts',
  'controller/decide/target-wait/deadline.ts',
  'controller/decide/decide.ts',
  'controller/records/decisions.ts',
  'controller/records/explain.ts',
  'controller/decide/target-wait/forecast.ts',
  'controller/decide/target-wait/histogram.ts',
  'controller/decide/hold.ts',
  'controller/decide/target-wait/keep-warm.ts',
  'controller/decide/target-wait/insight.ts',
  'controller/decide/target-wait/head-of-line.ts',
  'controller/decide/target-wait/service-time.ts',
  'controller/decide/target-wait/learned.ts',
  'controller/decide/local-time.ts',
  'controller/records/memory-check.ts',
  'controller/records/memory.ts',
  'controller/decide/clock-shift.ts',
  'controller/decide/numbers.ts',
  'controller/observe/observation.ts',
  'controller/decide/max-step.ts',
  'controller/decide/pause.ts',
  'controller/sample/round-trip.ts',
  'controller/decide/schedule.ts',
  'controller/decide/target-wait/sizing.ts',
  'controller/decide/sanity.ts',
  'controller/sample/stagger.ts',
  'controller/report/status.ts',
  'controller/report/target-status.ts',
  'controller/records/timeline.ts',
  'controller/act/pod-failures.ts',
  'controller/act/ownership.ts',
  'controller/act/scale-in-plan.ts',
  'controller/act/workers-of.ts',
  'queue/workers/worker-load.ts',
  'controller/recover/deaths.ts',
  'controller/decide/suspects.ts',
  'controller/decide/tasks-per-replica.ts',
  'controller/decide/policy.ts',
  'controller/observe/pool-metrics.ts',
  'controller/decide/reason.ts',
  'controller/act/deployment.ts',
  'controller/act/pod-defaults.ts',
  'controller/act/redis-secrets.ts',
  'controller/act/grace-period.ts',
  'controller/act/victims.ts',
  'controller/decide/target-wait/waits.ts',
  'worker/task/retry.ts',
  'worker/task/describe-error.ts',
  'queue/keys.ts',
  'queue/pool/slow-tasks.ts',
  'queue/scan-json.ts',
  'queue/task.ts',
  'kube/api.ts',
  'kube/conditions.ts',
  'kube/workerpool.ts',
  'kube/defaults.ts',
  'runtime/duration.ts',
  'runtime/exposition.ts',
]);
/** A simulation must come out the same each time, and runs what the controller runs. */
const isPure = (file: string): boolean => pure.has(file) || file.startsWith('simulate/');
/** Functions without a side effect, from elsewhere. */
const pureModules = new Set(['cluster-key-slot', 'croner', 'node:buffer', 'node:crypto', 'node:util']);

interface Import {
  readonly from: string;
  readonly to: string;
  readonly typeOnly: boolean;
}

function importsOf(file: string, source: string): Import[] {
  const statements = source.matchAll(/^(?:import|export)\s+(type\s)?[^;]*?from\s+'([^']+)';/gms);
  const dynamic = source.matchAll(/import\('([^']+)'\)/g);
  const found = [
    ...[...statements].map((match) => ({ to: match[2] ?? '', typeOnly: match[1] !== undefined })),
    ...[...dynamic].map((match) => ({ to: match[1] ?? '', typeOnly: false })),
  ];
  return found.map(({ to, typeOnly }) => ({
    from: file,
    to: to.startsWith('.') ? relative(root, join(root, dirname(file), to)) : to,
    typeOnly,
  }));
}

function violations(imports: readonly Import[]): string[] {
  return imports.flatMap(({ from, to, typeOnly }) => {
    const [folder = ''] = from.split('/');
    const [target = ''] = to.split('/');
    const trouble: string[] = [];
    if (target in allowed && !allowed[folder]?.includes(target)) trouble.push(`${from} imports ${to}`);
    if (folder === 'dashboard' && target === 'controller' && !typeOnly)
      trouble.push(`${from} runs in a browser and imports ${to}`);
    if (isPure(from) && !typeOnly && !isPure(to) && !pureModules.has(to))
      trouble.push(`${from} is pure and imports ${to}`);
    return trouble;
  });
}

const files = Object.keys(allowed).flatMap((folder) => globSync(`${folder}/**/*.{ts,tsx}`, { cwd: root }));

test('imports point one way', () => {
  expect(files.length).toBeGreaterThan(40);
  expect(
    violations(files.flatMap((file) => importsOf(file, readFileSync(join(root, file), 'utf8')))),
  ).toEqual([]);
});

test.each([
  ['queue/x.ts', `import { a } from '../kube/api.ts';`, 'queue/x.ts imports kube/api.ts'],
  ['worker/x.ts', `import type { A } from '../kube/api.ts';`, 'worker/x.ts imports kube/api.ts'],
  ['kube/x.ts', `const a = await import('../queue/queue.ts');`, 'kube/x.ts imports queue/queue.ts'],
  [
    'controller/x.ts',
    `export {\n  a,\n} from '../worker/main.ts';`,
    'controller/x.ts imports worker/main.ts',
  ],
  [
    'simulate/x.ts',
    `import { a } from '../controller/act/step.ts';`,
    'simulate/x.ts is pure and imports controller/act/step.ts',
  ],
  [
    'controller/decide/decide.ts',
    `import { b } from '../../runtime/clock.ts';`,
    'controller/decide/decide.ts is pure and imports runtime/clock.ts',
  ],
  [
    'dashboard/x.tsx',
    `import { COLUMNS } from '../controller/dashboard/series.ts';`,
    'dashboard/x.tsx runs in a browser and imports controller/dashboard/series.ts',
  ],
])('a violation is caught: %s', (file, source, expected) => {
  expect(violations(importsOf(file, source))).toEqual([expected]);
});

test('only main files and what they are built from read the environment', () => {
  const reading = files.filter((file) => /process\.env\b/.test(readFileSync(join(root, file), 'utf8')));
  expect(reading.filter((file) => !/(^|\/)main\.ts$/.test(file))).toEqual([]);
});

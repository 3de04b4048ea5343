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
  'controller/advice.ts',
  'controller/arrivals.ts',
  'controller/cron.ts',
  'controller/dashboard/api.ts',
  'controller/dashboard/buckets.ts',
  'controller/dashboard/leader.ts',
  'controller/dashboard/row.ts',
  'controller/dashboard/series.ts',
  'controller/dashboard/settings.ts',
  'controller/deadline.ts',
  'controller/decide.ts',
  'controller/decisions.ts',
  'controller/explain.ts',
  'controller/forecast.ts',
  'controller/histogram.ts',
  'controller/hold.ts',
  'controller/idle.ts',
  'controller/insight.ts',
  'controller/last-call.ts',
  'controller/learn.ts',
  'controller/learned.ts',
  'controller/local-time.ts',
  'controller/memory-form.ts',
  'controller/memory.ts',
  'controller/moved.ts',
  'controller/numbers.ts',
  'controller/observation.ts',
  'controller/pace.ts',
  'controller/pause.ts',
  'controller/round-trip.ts',
  'controller/schedule.ts',
  'controller/sentence.ts',
  'controller/sizing.ts',
  'controller/sound.ts',
  'controller/spread.ts',
  'controller/status.ts',
  'controller/target-status.ts',
  'controller/timeline.ts',
  'controller/trouble.ts',
  'controller/ownership.ts',
  'controller/shrink-plan.ts',
  'controller/workers-of.ts',
  'queue/worker-load.ts',
  'controller/deaths.ts',
  'controller/kept-apart.ts',
  'controller/plain.ts',
  'controller/policy.ts',
  'controller/pool-metrics.ts',
  'controller/reason.ts',
  'controller/deployment.ts',
  'controller/pod-defaults.ts',
  'controller/redis-files.ts',
  'controller/grace.ts',
  'controller/victims.ts',
  'controller/waits.ts',
  'worker/retry.ts',
  'worker/describe-error.ts',
  'queue/keys.ts',
  'queue/slow.ts',
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
    `import { a } from '../controller/step.ts';`,
    'simulate/x.ts is pure and imports controller/step.ts',
  ],
  [
    'controller/decide.ts',
    `import { b } from '../runtime/clock.ts';`,
    'controller/decide.ts is pure and imports runtime/clock.ts',
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

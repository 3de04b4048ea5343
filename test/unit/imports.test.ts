/** Holds the directions in which folders and stages may import one another (ARCHITECTURE.md, "Where things live"). */
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
  simulate: ['simulate', 'controller/decide'],
  cli: ['cli', 'controller', 'worker', 'simulate', 'queue', 'kube', 'runtime'],
  // a page in a browser: of the others it knows types
  dashboard: ['dashboard', 'controller/dashboard'],
  'controller/decide': [
    'controller/decide',
    'kube/workerpool.ts',
    'runtime/concurrency.ts',
    'runtime/duration.ts',
  ],
  'controller/decide/target-wait': [
    'controller/decide/target-wait',
    'controller/decide/tasks-per-replica.ts',
  ],
  'worker/epoch/slots': ['worker/epoch/slots', 'queue/keys.ts', 'runtime/timers.ts'],
  'worker/epoch/tasks': [
    'worker/epoch/tasks',
    'worker/epoch/slots',
    'worker/turn',
    'worker/process',
    'worker/task',
    'queue',
    'runtime',
  ],
  'worker/epoch/registration': [
    'worker/epoch/registration',
    'worker/epoch/options.ts',
    'worker/turn',
    'worker/task',
    'queue',
    'runtime',
  ],
};

/**
 * The stages of each folder: one imports itself and what stands to its right, nothing else of the folder. `*` is every file that
 * has no stage of its own; the files of one place may import one another, its folders may not.
 */
const stages: Record<string, readonly (readonly string[])[]> = {
  controller: [
    ['main.ts'],
    ['reconcile'],
    ['dashboard', 'external'],
    ['records', 'report'],
    ['observe', 'recover'],
    ['process'],
    ['connect', 'act'],
    ['sample'],
    ['decide'],
  ],
  worker: [
    ['main.ts'],
    ['worker.ts', 'flags'],
    ['epoch'],
    ['turn'],
    ['process'],
    ['lease', 'handlers'],
    ['task'],
  ],
  cli: [
    ['main.ts'],
    ['*'],
    ['map'],
    ['dev', 'top', 'doctor', 'simulate'],
    ['commands'],
    ['access'],
    ['cluster'],
    ['terminal'],
  ],
  queue: [
    ['queue.ts'],
    ['batches'],
    ['parts'],
    ['results', 'move', 'outcomes'],
    ['*'],
    ['sources'],
    ['pool', 'workers'],
    ['limits'],
    ['location.ts', 'served-levels.ts'],
    ['scripts'],
    ['connection'],
    [
      'keys.ts',
      'task.ts',
      'scan-json.ts',
      'exact-json.ts',
      'batch-mark.ts',
      'task-options.ts',
      'priorities.ts',
    ],
  ],
};

/** Files that are pure: they import types, and one another. */
const pure = new Set([
  'controller/act/deployment.ts',
  'controller/act/grace-period.ts',
  'controller/act/ownership.ts',
  'controller/act/parked/plan.ts',
  'controller/act/parked/size.ts',
  'controller/act/parked/total.ts',
  'controller/act/pod-defaults.ts',
  'controller/act/pod-failures.ts',
  'controller/act/redis-secrets.ts',
  'controller/act/scale-in-plan.ts',
  'controller/act/template-shape.ts',
  'controller/act/victims.ts',
  'controller/act/workers-of.ts',
  'controller/connect/partitions.ts',
  'controller/dashboard/api.ts',
  'controller/dashboard/read/buckets.ts',
  'controller/dashboard/leader.ts',
  'controller/dashboard/minutes.ts',
  'controller/dashboard/row.ts',
  'controller/dashboard/series.ts',
  'controller/dashboard/settings.ts',
  'controller/external/label-selector.ts',
  'controller/external/measures.ts',
  'controller/external/metrics-api.ts',
  'controller/observe/observation.ts',
  'controller/observe/pool-metrics.ts',
  'controller/records/decisions.ts',
  'controller/records/explain.ts',
  'controller/records/memory-check.ts',
  'controller/records/memory.ts',
  'controller/records/timeline.ts',
  'controller/recover/deaths.ts',
  'controller/report/change-events.ts',
  'controller/connect/partitions.ts',
  'controller/report/conditions.ts',
  'controller/report/partition-conditions.ts',
  'controller/report/status.ts',
  'controller/report/target-status.ts',
  'controller/sample/round-trip.ts',
  'controller/sample/stagger.ts',
  'kube/api.ts',
  'kube/conditions.ts',
  'kube/defaults.ts',
  'kube/quantity.ts',
  'kube/source-spec.ts',
  'kube/workerpool.ts',
  'queue/batch-mark.ts',
  'queue/keys.ts',
  'queue/partitions.ts',
  'queue/pool/slow-tasks.ts',
  'queue/results/read-pace.ts',
  'queue/results/waiting.ts',
  'queue/exact-json.ts',
  'queue/scan-json.ts',
  'queue/task-options.ts',
  'queue/task.ts',
  'queue/workers/worker-load.ts',
  'runtime/concurrency.ts',
  'runtime/duration.ts',
  'runtime/exposition.ts',
  'runtime/plural.ts',
  'worker/epoch/auto/describe.ts',
  'worker/epoch/auto/finder-state.ts',
  'worker/epoch/auto/finder.ts',
  'worker/epoch/auto/meter.ts',
  'worker/epoch/auto/spell.ts',
  'worker/epoch/tasks/prefetch.ts',
  'worker/epoch/state.ts',
  'worker/epoch/turn-due.ts',
  'runtime/describe-error.ts',
  'queue/outcomes/retry.ts',
  'queue/workers/brought.ts',
]);
/** A decision, and with it a simulation, must come out the same each time. */
const isPure = (file: string): boolean => pure.has(file) || /^(controller\/decide|simulate)\//.test(file);
/** The places that define commands. */
const commands = ['cli', 'runtime', 'controller/process/flags', 'worker/flags'];
/** Functions without a side effect, from elsewhere. */
const pureModules = new Set([
  'cluster-key-slot',
  'croner',
  'node:buffer',
  'node:crypto',
  'node:util',
  'node:zlib',
]);

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

const isIn = (file: string, place: string): boolean => file === place || file.startsWith(`${place}/`);

/** The place of a file among the stages of its folder, and the stage; `undefined` for one that has none. */
function stageOf(file: string, order: readonly (readonly string[])[]): [number, string] | undefined {
  const [, name = '', ...inside] = file.split('/');
  const named = order.findIndex((place) => place.includes(name));
  const place = named < 0 && inside.length === 0 ? order.findIndex(([first]) => first === '*') : named;
  return place < 0 ? undefined : [place, inside.length === 0 ? '' : name];
}

function outOfOrder(from: string, to: string): string[] {
  const [folder = ''] = from.split('/');
  const order = stages[folder];
  if (!order) return [];
  const here = stageOf(from, order);
  if (!here) return [`${from} stands in no stage of ${folder}/`];
  if (!isIn(to, folder)) return [];
  const there = stageOf(to, order);
  if (there && (there[0] > here[0] || (there[0] === here[0] && there[1] === here[1]))) return [];
  return [`${from} imports ${to}, which does not stand to its right`];
}

function violations(imports: readonly Import[]): string[] {
  return imports.flatMap(({ from, to, typeOnly }) => {
    const [target = ''] = to.split('/');
    const trouble: string[] = [];
    const rules = Object.entries(allowed).filter(([place]) => isIn(from, place));
    if (target in allowed && !rules.every(([, places]) => places.some((place) => isIn(to, place))))
      trouble.push(`${from} imports ${to}`);
    trouble.push(...outOfOrder(from, to));
    if (to === 'commander' && !commands.some((place) => isIn(from, place)))
      trouble.push(`${from} defines no command and imports ${to}`);
    if (isIn(from, 'dashboard') && target === 'controller' && !typeOnly)
      trouble.push(`${from} runs in a browser and imports ${to}`);
    if (isPure(from) && !typeOnly && !isPure(to) && !pureModules.has(to))
      trouble.push(`${from} is pure and imports ${to}`);
    return trouble;
  });
}

const folders = Object.keys(allowed).filter((place) => !place.includes('/'));
const files = folders.flatMap((folder) => globSync(`${folder}/**/*.{ts,tsx}`, { cwd: root }));

test('imports point one way', () => {
  expect(files.length).toBeGreaterThan(40);
  expect(
    violations(files.flatMap((file) => importsOf(file, readFileSync(join(root, file), 'utf8')))),
  ).toEqual([]);
});

test('each stage is there, and so is each pure file', () => {
  const places = Object.entries(stages).flatMap(([folder, order]) =>
    order.flat().flatMap((stage) => (stage === '*' ? [] : `${folder}/${stage}`)),
  );
  const gone = [...places, ...pure].filter((place) => !files.some((file) => isIn(file, place)));
  expect(gone).toEqual([]);
});

test.each([
  ['queue/x.ts', `import { a } from '../kube/api.ts';`, 'queue/x.ts imports kube/api.ts'],
  ['worker/worker.ts', `import type { A } from '../kube/api.ts';`, 'worker/worker.ts imports kube/api.ts'],
  ['kube/x.ts', `const a = await import('../queue/queue.ts');`, 'kube/x.ts imports queue/queue.ts'],
  [
    'controller/main.ts',
    `export {\n  a,\n} from '../worker/main.ts';`,
    'controller/main.ts imports worker/main.ts',
  ],
  [
    'simulate/x.ts',
    `import type { Target } from '../controller/act/target.ts';`,
    'simulate/x.ts imports controller/act/target.ts',
  ],
  [
    'controller/decide/target-wait/x.ts',
    `import type { Policy } from '../decision.ts';`,
    'controller/decide/target-wait/x.ts imports controller/decide/decision.ts',
  ],
  [
    'queue/x.ts',
    `import type { Command } from 'commander';`,
    'queue/x.ts defines no command and imports commander',
  ],
  ['simulate/x.ts', `import { b } from 'node:fs';`, 'simulate/x.ts is pure and imports node:fs'],
  [
    'controller/decide/x.ts',
    `import { b } from 'node:fs';`,
    'controller/decide/x.ts is pure and imports node:fs',
  ],
  [
    'queue/keys.ts',
    `import { b } from '../runtime/clock.ts';`,
    'queue/keys.ts is pure and imports runtime/clock.ts',
  ],
  [
    'dashboard/x.tsx',
    `import { COLUMNS } from '../controller/dashboard/series.ts';`,
    'dashboard/x.tsx runs in a browser and imports controller/dashboard/series.ts',
  ],
  [
    'controller/sample/x.ts',
    `import type { Replicas } from '../act/target.ts';`,
    'controller/sample/x.ts imports controller/act/target.ts, which does not stand to its right',
  ],
  [
    'controller/records/x.ts',
    `import { a } from '../report/status.ts';`,
    'controller/records/x.ts imports controller/report/status.ts, which does not stand to its right',
  ],
  [
    'worker/task/x.ts',
    `import type { Outbox } from '../epoch/tasks/progress.ts';`,
    'worker/task/x.ts imports worker/epoch/tasks/progress.ts, which does not stand to its right',
  ],
  [
    'worker/epoch/slots/x.ts',
    `import type { Tasks } from '../tasks/tasks.ts';`,
    'worker/epoch/slots/x.ts imports worker/epoch/tasks/tasks.ts',
  ],
  [
    'cli/terminal/x.ts',
    `import { a } from '../access/access.ts';`,
    'cli/terminal/x.ts imports cli/access/access.ts, which does not stand to its right',
  ],
  [
    'queue/connection/x.ts',
    `import { a } from '../scripts/scripts.ts';`,
    'queue/connection/x.ts imports queue/scripts/scripts.ts, which does not stand to its right',
  ],
  [
    'queue/task.ts',
    `import type { A } from './push.ts';`,
    'queue/task.ts imports queue/push.ts, which does not stand to its right',
  ],
  [
    'controller/misc/x.ts',
    `import type { A } from '../decide/decision.ts';`,
    'controller/misc/x.ts stands in no stage of controller/',
  ],
])('a violation is caught: %s', (file, source, expected) => {
  expect(violations(importsOf(file, source))).toEqual([expected]);
});

test('only main files and what they are built from read the environment', () => {
  const reading = files.filter((file) => /process\.env\b/.test(readFileSync(join(root, file), 'utf8')));
  expect(reading.filter((file) => !/(^|\/)main\.ts$/.test(file))).toEqual([]);
});

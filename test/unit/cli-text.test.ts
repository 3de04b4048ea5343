/** What the command line prints and reads, apart from any process. */
import { globSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { describe, expect, test } from 'vitest';
import { devSettings, type DevFlags } from '../../cli/dev/settings.ts';
import { parsePool } from '../../cli/access/pool-file.ts';
import { lineBatches } from '../../cli/commands/line-batches.ts';
import { readLogLine } from '../../cli/dev/log-line.ts';
import { createNarrator } from '../../cli/dev/narrator.ts';
import { age, oneLine, table } from '../../cli/terminal/table.ts';
import { visible } from '../../runtime/plain-text.ts';

test('a table is as wide as it must be; numbers stand right', () => {
  expect(
    table(
      ['NAME', 'N'],
      [
        ['a', 5],
        ['longer', 1234],
      ],
    ),
  ).toBe('NAME       N\na          5\nlonger  1234\n');
  expect(table(['EMPTY', 'TABLE'], [])).toBe('EMPTY  TABLE\n');
});

const ESCAPES = '\u001b[2J\u001b]0;gone\u0007\u202egnp\u009b1m\u007f';

test('no cell of a table moves the cursor or turns what follows, and a colour is not counted as width', () => {
  const rows = [
    [`id${ESCAPES}`, { text: `busy${ESCAPES}`, colour: undefined }, `worker\n${ESCAPES}`, 1],
    ['b', { text: 'idle', colour: 'red' as const }, 'w', 2],
  ];
  const text = table(['TASK', 'STATE', 'WORKER', 'N'], rows);
  expect(text.split('\n')).toHaveLength(4);
  // eslint-disable-next-line no-control-regex
  expect(text.replaceAll(/\u001b\[\d+m/g, '')).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
  expect(text).toContain('id [2J ]0;gone');
  expect(oneLine(ESCAPES, 100)).toBe('[2J ]0;gone gnp 1m');
});

test('a text for a terminal shows what it holds', () => {
  expect(visible('a\tb\n\u001b[31mred\u202e')).toBe('a\tb\n\\u001b[31mred\\u202e');
});

test('any output of a worker of `millrace dev` becomes a line of text', () => {
  const lines: string[] = [];
  const narrator = createNarrator((line) => lines.push(line));
  const line = readLogLine(JSON.stringify({ level: 'error', msg: `task ${ESCAPES} failed` }));
  narrator.onEvent({ kind: 'line', id: 'local-1-1', line });
  narrator.onEvent({ kind: 'line', id: 'local-1-1', line: readLogLine(`  printed ${ESCAPES}`) });
  narrator.onLog(JSON.stringify({ level: 'warn', msg: ESCAPES }));
  expect(lines).toHaveLength(3);
  // eslint-disable-next-line no-control-regex
  for (const one of lines) expect(one).not.toMatch(/[\u0000-\u001f\u007f-\u009f\u202e]/);
  expect(lines[1]).toMatch(/worker 1:   printed /);
});

test.each([
  [0, '0s'],
  [999, '0s'],
  [61_000, '1m1s'],
  [3_600_000, '1h'],
  [90_061_000, '1d1h'],
  [-5, '0s'],
])('an age of %d ms is %s', (ms, text) => expect(age(ms)).toBe(text));

test('one line of a text that has more', () => {
  expect(oneLine('a\nb\u0000\tc ', 10)).toBe('a b c');
  expect(oneLine('abcdefgh', 5)).toBe('abcd…');
});

describe('lines of stdin', () => {
  const read = async (...chunks: string[]): Promise<string[][]> => {
    const stream = async function* (): AsyncGenerator<Buffer> {
      for (const chunk of chunks) yield Buffer.from(chunk);
    };
    const batches: string[][] = [];
    for await (const lines of lineBatches(stream())) batches.push(lines.map(String));
    return batches;
  };
  test.each([
    ['a batch for each chunk, so that a slow pipe does not wait', ['a\nb\n', 'c\n'], [['a', 'b'], ['c']]],
    ['a line in pieces is one line', ['ab', 'c', 'd\ne'], [['abcd'], ['e']]],
    ['empty lines are left out', ['\n\na\n\n'], [['a']]],
    ['nothing', [], []],
  ])('%s', async (_, chunks, batches) => expect(await read(...chunks)).toEqual(batches));
});

describe('settings of dev', () => {
  test('without a pool: as many workers as cores, a window of 10 s, the rest as a WorkerPool', () => {
    const settings = devSettings({}, undefined, 6);
    expect(settings.policy).toMatchObject({
      minReplicas: 0,
      maxReplicas: 6,
      tasksPerReplica: undefined,
      windowMs: 10_000,
    });
    expect(settings).toMatchObject({ queue: 'task_queue', result: 'result', concurrency: 1, dryRun: false });
    expect(devSettings({ min: 9 }, undefined, 6).policy.maxReplicas).toBe(9);
    expect(settings).toMatchObject({
      tasks: { maxBytes: 16 * 1024 * 1024 },
      results: { ttlMs: 0, maxBytes: 64 * 1024 * 1024 },
      deadLetters: { max: 10_000, maxAgeMs: 2_592_000_000 },
    });
  });

  test("a pool's values over the defaults, flags over the pool's", () => {
    const pool = parsePool(
      `kind: Secret\n---\nkind: WorkerPool\nspec: { queue: words, maxReplicas: 7, mode: DryRun, scaling: { tasksPerReplica: 2, scaleDown: { window: 2m } } }`,
      'pool.yaml',
    );
    const settings = devSettings({ max: 3, result: 'r' }, pool, 6);
    expect(settings.policy).toMatchObject({ maxReplicas: 3, tasksPerReplica: 2, windowMs: 120_000 });
    expect(settings).toMatchObject({ queue: 'words', result: 'r', dryRun: true });
    expect(devSettings({ window: 5_000 }, pool, 6).policy).toMatchObject({
      tasksPerReplica: 2,
      windowMs: 5_000,
    });
  });

  test('a pool whose file shares values by merge keys, as kubectl reads them', () => {
    const pool = parsePool(
      'kind: WorkerPool\nshared: &shared { maxReplicas: 7 }\nspec: { <<: *shared, queue: words }',
      'p.yaml',
    );
    expect(pool).toEqual({ queue: 'words', maxReplicas: 7 });
  });

  test('a target wait: the pool finds its own window, unless there is one or another rule', () => {
    const policy = (flags: DevFlags, text?: string) =>
      devSettings(flags, text === undefined ? undefined : parsePool(text, 'p.yaml'), 6).policy;
    expect(policy({ targetWait: 5_000 })).toMatchObject({ targetWaitMs: 5_000, windowMs: undefined });
    expect(policy({ targetWait: 5_000, window: 2_000 }).windowMs).toBe(2_000);
    const both = policy({ targetWait: 5_000, tasksPerReplica: 2 });
    expect(both).toMatchObject({ targetWaitMs: 5_000, tasksPerReplica: 2, windowMs: 60_000 });
    const pool = `kind: WorkerPool\nspec: { concurrency: 4, scaling: { targetWait: 1m, scaleUp: { maxStep: 3 }, scaleDown: { maxStep: 10% } } }`;
    expect(policy({}, pool)).toMatchObject({
      targetWaitMs: 60_000,
      windowMs: undefined,
      slots: 4,
      maxStepUp: { replicas: 3 },
      maxStepDown: { percent: 10 },
    });
    expect(() => policy({ targetWait: 50 })).toThrow(/--target-wait\) is 50ms: give at least 100ms/);
  });

  test.each([
    [
      'kind: WorkerPool\nspec: { concurrency: many }',
      /concurrency: "many" is neither a number of tasks such as 8, nor auto, nor auto:4-64/,
    ],
    ['kind: WorkerPool\nspec: { scaling: { tasksPerReplica: 0 } }', /tasksPerReplica is 0/],
    ['kind: WorkerPool\nspec: { scaling: { scaleDown: { window: soon } } }', /"soon" is not a duration/],
    ['kind: WorkerPool\nspec: { scaling: { scaleUp: { maxStep: 0% } } }', /maxStep is "0%": write a number/],
    ['kind: WorkerPool', /has no spec/],
    ['kind: Pod\nspec: {}', /p\.yaml holds no WorkerPool/],
    [
      'kind: WorkerPool\nspec: {}\n---\nkind: WorkerPool\nspec: {}',
      /holds 2 WorkerPools: give a file with one/,
    ],
    ['a: [', /p\.yaml is not YAML/],
  ])('%j is refused in words', (text, message) => {
    expect(() => devSettings({}, parsePool(text, 'p.yaml'), 2)).toThrow(message);
  });

  const hourly = 'schedule: "0 * * * *"';
  test.each([
    ['maxReplica: 3', 'spec.maxReplica is no field of a pool: there it is one of queue, queues,'],
    [
      'scaling: { targetwait: 1s }',
      'spec.scaling.targetwait is no field of a pool: there it is one of tasksPerReplica,',
    ],
    ['minReplicas: -1', 'spec.minReplicas is -1: it must be a whole number from 0'],
    ['maxReplicas: "5"', 'spec.maxReplicas is "5": it must be a whole number from 1'],
    ['minReplicas: 9, maxReplicas: 2', 'spec.minReplicas is 9, and spec.maxReplicas 2: lower the former'],
    [
      'scaling: { tasksPerReplica: x }',
      'spec.scaling.tasksPerReplica is "x": it must be a whole number from 1',
    ],
    ['queue: 5', 'spec.queue is 5: it must be a text, in quotes'],
    ['scaling: { targetWait: 10 }', 'spec.scaling.targetWait is 10: it must be a text'],
    ['partitions: 0', 'spec.partitions is 0: it must be a whole number from 1'],
    ['priorities: high', 'spec.priorities is "high": it must be a list'],
    ['priorities: [high, urgent]', 'spec.priorities[1] is "urgent": it must be high or low'],
    ['crons: 5', 'spec.crons is 5: it must be a list'],
    [`crons: [{ ${hourly}, task: {} }]`, 'spec.crons[0].name is missing: it must be a name of small letters'],
    [
      `crons: [{ name: a b, ${hourly}, task: {} }]`,
      'spec.crons[0].name is "a b": it must be a name of small letters',
    ],
    [`crons: [{ name: a, ${hourly} }]`, 'spec.crons[0].task is missing: it must be an object'],
    [`crons: [{ name: a, ${hourly}, task: [1] }]`, 'spec.crons[0].task is [1]: it must be an object'],
    [
      `crons: [{ name: a, ${hourly}, task: {}, missed: None }]`,
      'missed is "None": it must be Skip or Last or All',
    ],
    [
      'crons: [{ name: a, schedule: 0 0 30 2 *, task: {} }]',
      'crons[0].schedule is "0 0 30 2 *", a date that never',
    ],
    [
      `crons: [{ name: a, ${hourly}, task: {} }, { name: a, ${hourly}, task: {} }]`,
      'crons[0] and crons[1] are both called a: rename one of them',
    ],
  ])('what the API server would refuse, %s, is named', (spec, message) => {
    expect(() => devSettings({}, parsePool(`kind: WorkerPool\nspec: { ${spec} }`, 'p.yaml'), 2)).toThrow(
      message,
    );
  });

  test('each field of the definition is known', async () => {
    interface Schema {
      readonly properties?: Readonly<Record<string, Schema>>;
    }
    const schema = JSON.parse(await readFile('manifests/workerpool.schema.json', 'utf8')) as Schema;
    const { properties: spec = {} } = schema.properties?.['spec'] ?? {};
    const within = (field: string): string[] =>
      Object.keys(spec[field]?.properties ?? {}).map((name) => `${field}: { ${name}: null }`);
    const closed = ['scaling', 'retry', 'results', 'deadLetters', 'tasks', 'parked', 'fallback'];
    const all = [...Object.keys(spec).map((name) => `${name}: null`), ...closed.flatMap(within)];
    for (const text of all)
      expect(() => parsePool(`kind: WorkerPool\nspec: { ${text} }`, 'p.yaml')).not.toThrow();
  });

  test('the pools of the examples and samples are right', async () => {
    const files = globSync(['examples/*/*.yaml', 'manifests/samples/*.yaml']);
    expect(files.length).toBeGreaterThan(5);
    for (const file of files) {
      const all = (await readFile(file, 'utf8'))
        .split(/^---$/m)
        .filter((text) => /^kind: WorkerPool$/m.test(text));
      for (const text of all) expect(() => parsePool(text, file)).not.toThrow();
    }
  });
});

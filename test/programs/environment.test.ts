/** Environment variables of all programs and all commands, as docs/reference/flags.md lists them. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { MILLRACE, start, type Ended } from '../support/millrace.ts';
import { startRedis } from '../support/redis.ts';
import { spawnProgram, TASKS } from '../support/workers.ts';

const ROOT = join(import.meta.dirname, '../..');
const FILES: Record<string, string> = {
  millrace: MILLRACE,
  'millrace-worker': join(ROOT, 'worker/main.ts'),
  'millrace-controller': join(ROOT, 'controller/main.ts'),
};

interface Variable {
  readonly name: string;
  /** The program and its command. */
  readonly of: string;
  readonly isSwitch: boolean;
}

/** A variable that several commands have is listed with the first of them. */
function variables(): Variable[] {
  const page = readFileSync(join(ROOT, 'docs/reference/flags.md'), 'utf8');
  const found = Array.from(page.matchAll(/^#+ (millrace\S*.*)\n\n```\n([^`]*)/gm)).flatMap(
    ([, of = '', help = '']) =>
      help.split(/\n(?= {2}-)/).flatMap((text): Variable[] => {
        const name = /env:\s+(MILLRACE_\w+)\)/.exec(text)?.[1];
        const isSwitch = !/^ *(-\w, )?--[\w-]+ [<[]/.test(text);
        return name === undefined ? [] : [{ name, of, isSwitch }];
      }),
  );
  const program = (of: string): string => of.split(' ', 1)[0] ?? '';
  return found.filter(
    ({ name, of }, i) =>
      found.findIndex((other) => other.name === name && program(other.of) === program(of)) === i,
  );
}

async function run(of: string, env: NodeJS.ProcessEnv, more: readonly string[] = []): Promise<Ended> {
  const [name = '', ...command] = of.split(' ');
  await using program = start(FILES[name] ?? '', [...command, ...more], { env });
  return await program.ended;
}

test('the page lists what there is to try', () => {
  const all = variables();
  expect(all.filter(({ isSwitch }) => isSwitch).map(({ name }) => name)).toEqual(
    expect.arrayContaining([
      'MILLRACE_REDIS_TLS',
      'MILLRACE_REDIS_TLS_INSECURE',
      'MILLRACE_KEEP_RUNNING',
      'MILLRACE_DASHBOARD',
      'MILLRACE_DASHBOARD_SHOW_TASKS',
      'MILLRACE_LEADER_ELECTION',
    ]),
  );
  expect(new Set(all.map(({ of }) => of.split(' ', 1)[0]))).toEqual(new Set(Object.keys(FILES)));
});

test.concurrent.each(variables().filter(({ isSwitch }) => isSwitch))(
  '$of: $name is true or false, and nothing else',
  async ({ name, of }) => {
    const { code, stderr } = await run(of, { [name]: 'maybe' });
    expect(stderr).toMatch(new RegExp(`: ${name} must be true or false`));
    expect(code).toBe(2);
  },
);

test('with all of its variables empty, a worker does as with none', async () => {
  await using redis = await startRedis();
  const empty = variables().filter(({ of }) => of === 'millrace-worker');
  expect(empty.length).toBeGreaterThan(30);
  await using worker = spawnProgram(
    ['--module', TASKS, '--redis', redis.url],
    Object.fromEntries(empty.map(({ name }) => [name, ''])),
  );
  await worker.reports('ready');
  worker.signal('SIGTERM');
  expect(await worker.ended).toBe(0);
});

test('so do the controller and the command line', async () => {
  await using redis = await startRedis();
  const all = Object.fromEntries(variables().map(({ name }) => [name, '']));
  const controller = await run('millrace-controller', { ...all, KUBECONFIG: '/nowhere' });
  expect(controller.stderr).toMatch(/\/nowhere/);
  expect(controller.code).toBe(1);
  const inspected = await run('millrace inspect', all, ['--redis', redis.url, '--output', 'json']);
  expect(inspected.stderr).toBe('');
  expect(JSON.parse(inspected.stdout)).toMatchObject({ waiting: 0 });
});

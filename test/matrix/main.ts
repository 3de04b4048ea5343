/**
 * `npm run matrix [-- NAME ...] [--write]`: runs test/redis on each server (servers.ts), one after the other. A test that fails must
 * be listed in differences.ts with the reason, and one that is listed must fail: else the run fails. `--write` keeps the
 * outcomes in results.json, from which docs/servers.md is made.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { Argument } from 'commander';
import { createProgram, runProgram, UsageError } from '../../runtime/program.ts';
import { version as release } from '../../runtime/version.ts';
import { judge, type Outcome, type TestOutcome } from './outcome.ts';
import { pageOf } from './page.ts';
import { obtain, servers, versionOf, type MatrixServer } from './servers.ts';

const ROOT = join(import.meta.dirname, '../..');
const RESULTS = join(import.meta.dirname, 'results.json');
const PAGE = join(ROOT, 'docs/servers.md');

/** The part of vitest's JSON report that is used. */
interface Report {
  readonly testResults: readonly {
    readonly name: string;
    readonly message: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages: readonly string[];
    }[];
  }[];
}

async function runTests(program: string): Promise<TestOutcome[]> {
  const folder = await mkdtemp(join(tmpdir(), 'millrace-matrix-'));
  try {
    const file = join(folder, 'report.json');
    const args = ['vitest', 'run', '--project', 'redis', '--reporter', 'json', '--outputFile', file];
    const env = { ...process.env, MILLRACE_TEST_REDIS: program };
    const child = spawn('npx', args, { cwd: ROOT, env, stdio: ['ignore', 'ignore', 'inherit'] });
    await once(child, 'exit');
    const { testResults } = JSON.parse(await readFile(file, 'utf8')) as Report;
    return testResults.flatMap(({ name, message, assertionResults }) => {
      const path = relative(ROOT, name);
      // a file that does not even load has no tests
      if (assertionResults.length === 0) return [{ title: path, passed: false, why: message }];
      return assertionResults.map(({ fullName, status, failureMessages: [why = ''] }) => ({
        title: `${path} ${fullName}`,
        passed: status === 'passed',
        why,
      }));
    });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The outcome on one server, printed as it comes; `undefined` where the server is not available here. */
async function tryServer(server: MatrixServer): Promise<Outcome | undefined> {
  const program = await obtain(server);
  if (program instanceof Error) {
    console.log(`${server.name}: not available here: ${program.message.trim().split('\n')[0]}`);
    return undefined;
  }
  const version = await versionOf(program);
  console.log(`${server.name}: ${version} ...`);
  const outcome = judge(server, version, await runTests(program));
  const { passed, differences, unexpected, stale } = outcome;
  console.log(
    `${server.name}: ${passed} passed, ${differences} differ as listed, ${unexpected.length} failed`,
  );
  for (const { title, why } of unexpected) console.log(`  failed: ${title}\n    ${why.split('\n')[0]}`);
  for (const title of stale) console.log(`  passes, and is listed as different: ${title}`);
  return outcome;
}

async function main(): Promise<void> {
  const names = servers.map(({ name }) => name).join(', ');
  const program = createProgram('matrix', release)
    .description('Runs the Redis tests on each supported server.')
    .addArgument(new Argument('[name...]', `servers to test, all by default: ${names}`))
    .option('--write', 'save the outcomes, and write them to docs/servers.md');
  program.parse();
  const { args } = program;
  const { write } = program.opts<{ write?: boolean }>();
  const unknown = args.filter((name) => servers.every((server) => server.name !== name));
  if (unknown.length > 0)
    throw new UsageError(`there is no server ${unknown.join(', ')}: choose from ${names}`);
  const chosen = servers.filter(({ name }) => args.length === 0 || args.includes(name));
  const kept = JSON.parse(await readFile(RESULTS, 'utf8')) as Outcome[];
  const outcomes = new Map(kept.map((outcome) => [outcome.server, outcome]));
  let failed = false;
  for (const server of chosen) {
    const outcome = await tryServer(server);
    if (!outcome) continue;
    if (outcome.unexpected.length + outcome.stale.length > 0) {
      failed = true;
      continue;
    }
    outcomes.set(server.name, outcome);
    if (!write) continue;
    const rows = servers.flatMap(({ name }) => outcomes.get(name) ?? []);
    await writeFile(RESULTS, `${JSON.stringify(rows, null, 2)}\n`);
    await writeFile(PAGE, pageOf(await readFile(PAGE, 'utf8'), rows));
  }
  if (failed) process.exitCode = 1;
}

await runProgram('matrix', main);

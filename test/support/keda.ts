/** KEDA's own code, compiled without what needs the client libraries of everything that KEDA scales by: see test/kube/keda. */
import { execFile, spawn } from 'node:child_process';
import { chmod, copyFile, cp, mkdtempDisposable, readFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { prepareGo } from './go.ts';

const FOLDER = join(import.meta.dirname, '../kube/keda');
const MODULE = 'github.com/kedacore/keda/v2';
/** Of KEDA's packages; the rest of these needs gigabytes of clients. By the folder here that takes them. */
const FILES = {
  scalers: ['pkg/scalers/scaler.go', 'pkg/scalers/external_scaler.go', 'pkg/scalers/redis_scaler.go'],
  executor: ['pkg/scaling/executor/scale_executor.go', 'pkg/scaling/executor/scale_jobs.go'],
};

const run = promisify(execFile);

/** The folder of KEDA's module. */
async function kedaFolder(): Promise<string> {
  const { stdout } = await run('go', ['mod', 'download', '-json', MODULE], { cwd: FOLDER });
  return (JSON.parse(stdout) as { Dir: string }).Dir;
}

/** A file of KEDA's repository. */
export async function readKedaFile(path: string): Promise<string> {
  return readFile(join(await kedaFolder(), path), 'utf8');
}

/** Compiles the client of an external scaler, unless it is there, and returns the program. */
export function prepareKeda(): Promise<string> {
  return prepare('.');
}

/** The same of the program that creates the Jobs of a ScaledJob. */
export function prepareKedaJobs(): Promise<string> {
  return prepare('./jobs');
}

async function prepare(program: string): Promise<string> {
  const keda = await kedaFolder();
  await using folder = await mkdtempDisposable(join(tmpdir(), 'millrace-keda-'));
  await cp(FOLDER, folder.path, { recursive: true });
  for (const [into, files] of Object.entries(FILES))
    for (const file of files) {
      const copy = join(folder.path, into, basename(file));
      await copyFile(join(keda, file), copy);
      await chmod(copy, 0o644);
    }
  return await prepareGo(folder.path, program);
}

export interface KedaTrigger {
  readonly namespace: string;
  /** Of the ScaledObject. */
  readonly name: string;
  readonly metadata: Readonly<Record<string, string>>;
  /** What a TriggerAuthentication has. */
  readonly auth?: Readonly<Record<string, string>>;
}

export interface Keda extends AsyncDisposable {
  /** How often it was told that there is work. */
  readonly pushes: () => number;
  /** Targets by metric, as an HPA gets them; empty if the scaler refuses. */
  specs(): Promise<Record<string, string>>;
  /** Rejects with the scaler's status. */
  metrics(name: string): Promise<{ values: Record<string, number>; active: boolean }>;
  /** What it has logged. */
  readonly log: () => string;
}

interface Line {
  readonly push?: boolean;
  readonly specs?: Record<string, string>;
  readonly values?: Record<string, number>;
  readonly active?: boolean;
  readonly error?: string;
}

/** Runs a trigger of type external-push. */
export function startKeda(program: string, trigger: KedaTrigger): Keda {
  const child = spawn(program, [JSON.stringify(trigger)], { stdio: ['pipe', 'pipe', 'pipe'] });
  const ended = new Promise<void>((resolve) => void child.once('close', () => resolve()));
  let pushes = 0;
  let logged = '';
  const waiting: PromiseWithResolvers<Line>[] = [];
  child.stderr.setEncoding('utf8').on('data', (text: string) => (logged += text));
  createInterface({ input: child.stdout }).on('line', (text) => {
    const line = JSON.parse(text) as Line;
    if (line.push === undefined) waiting.shift()?.resolve(line);
    else if (line.push) pushes++;
  });
  void ended.then(() => {
    for (const { reject } of waiting) reject(new Error(`KEDA's scaler ended:\n${logged}`));
  });
  const ask = (command: string): Promise<Line> => {
    const answer = Promise.withResolvers<Line>();
    waiting.push(answer);
    child.stdin.write(`${command}\n`);
    return answer.promise;
  };
  return {
    pushes: () => pushes,
    specs: async () => (await ask('spec')).specs ?? {},
    metrics: async (name) => {
      const { error, values = {}, active = false } = await ask(`metrics ${name}`);
      if (error !== undefined) throw new Error(error);
      return { values, active };
    },
    log: () => logged,
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

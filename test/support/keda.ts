/** KEDA's own code for external scalers, as the client of a service: see test/kube/keda/main.go. */
import { execFile, spawn } from 'node:child_process';
import { chmod, copyFile, cp, mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { promisify } from 'node:util';
import { prepareGo } from './go.ts';

const FOLDER = join(import.meta.dirname, '../kube/keda');
const MODULE = 'github.com/kedacore/keda/v2';
/** The rest of the package has the client libraries of everything else that KEDA scales by: gigabytes. */
const FILES = ['scaler.go', 'external_scaler.go'];

/** Compiles it, unless it is there, and returns the program. */
export async function prepareKeda(): Promise<string> {
  const run = promisify(execFile);
  const { stdout } = await run('go', ['mod', 'download', '-json', MODULE], { cwd: FOLDER });
  const { Dir } = JSON.parse(stdout) as { Dir: string };
  await using folder = await mkdtempDisposable(join(tmpdir(), 'millrace-keda-'));
  await cp(FOLDER, folder.path, { recursive: true });
  for (const file of FILES) {
    const copy = join(folder.path, 'scalers', file);
    await copyFile(join(Dir, 'pkg/scalers', file), copy);
    await chmod(copy, 0o644);
  }
  return await prepareGo(folder.path);
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

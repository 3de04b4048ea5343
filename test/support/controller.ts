/**
 * The controller as users run it: a process of its own, from its sources or from a bundle, with its log in hand. A
 * process that a test leaves behind is killed by `await using`; how it ends is the test's business.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { bundle } from '../../scripts/bundle.ts';
import { LogEvent } from '../../runtime/log-event.ts';
import { eventually, WITHIN_MS } from './eventually.ts';
import { programEnv } from './program-env.ts';
import { freePort } from './ports.ts';

const root = join(import.meta.dirname, '../..');
const MAIN = join(root, 'controller/main.ts');

export interface LogLine {
  readonly level: string;
  readonly msg: string;
  readonly [field: string]: unknown;
}

export interface Ended {
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
}

export interface ControllerProcess extends AsyncDisposable {
  readonly pid: number;
  /** Of its HTTP server. */
  readonly port: number;
  /** What it logged so far; lines that are not JSON are left out. */
  log(): LogLine[];
  /** All that it wrote to stderr. */
  stderr(): string;
  /** GET on its own HTTP server; status 0 while that does not listen. */
  get(path: string): Promise<{ status: number; body: string }>;
  /** Resolves when it leads and has listed everything. */
  leading(withinMs?: number): Promise<void>;
  /** SIGTERM. Resolves when it is gone. */
  stop(): Promise<Ended>;
  /** SIGKILL. */
  kill(): Promise<Ended>;
  readonly ended: Promise<Ended>;
  /** Memory that it occupies now, bytes. */
  resident(): Promise<number>;
}

export interface ControllerOptions {
  readonly kubeconfig: string;
  readonly args?: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
  /** Whether it may connect to a Redis of this machine, as it must nearly everywhere here. */
  readonly allowLocal?: boolean;
  /** Node's own flags and the file to run, instead of the sources. */
  readonly program?: readonly string[];
}

/** Bundles the controller, and returns how its image starts it: Node's flags, and the file. */
export async function bundledController(): Promise<string[]> {
  await bundle('controller');
  const dockerfile = await readFile(join(root, 'images/controller.Dockerfile'), 'utf8');
  const entrypoint: string[] = JSON.parse(/^ENTRYPOINT (.+)$/m.exec(dockerfile)?.[1] ?? '[]');
  if (entrypoint[0] !== 'node' || !entrypoint.at(-1)?.endsWith('controller.mjs'))
    throw new Error('the image starts the controller in a way that is not known here');
  return [...entrypoint.slice(1, -1), join(root, 'dist/bundle/controller.js')];
}

/** Starts a controller; it is not ready yet when this resolves. */
export async function startController(options: ControllerOptions): Promise<ControllerProcess> {
  const { kubeconfig, args = [], env = {}, program, allowLocal = true } = options;
  const port = await freePort();
  const local = allowLocal ? ['--allow-local'] : [];
  const flags = ['--kubeconfig', kubeconfig, '--http-port', String(port), ...local, ...args];
  // another program is started as its image starts it
  const own = program === undefined ? programEnv : { PATH: process.env['PATH'] };
  const child = spawn(process.execPath, [...(program ?? [MAIN]), ...flags], {
    env: { ...own, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  const { pid } = child;
  if (pid === undefined) throw new Error('the controller could not be started');
  let written = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (written += text));
  // `close`, not `exit`: all of its log has been read then
  const ended = once(child, 'close').then(([code, signal]): Ended => ({ code, signal }));
  const log = (): LogLine[] =>
    written
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line));
  const end = (signal: NodeJS.Signals): Promise<Ended> => {
    child.kill(signal);
    return ended;
  };
  return {
    pid,
    port,
    log,
    stderr: () => written,
    get: async (path) => {
      try {
        const response = await fetch(`http://127.0.0.1:${port}${path}`);
        return { status: response.status, body: await response.text() };
      } catch {
        return { status: 0, body: '' };
      }
    },
    leading: (withinMs = WITHIN_MS) =>
      eventually(
        () => {
          if (child.exitCode !== null) throw new Error(`the controller ended:\n${written}`);
          if (!log().some(({ event }) => event === LogEvent.Watching))
            throw new Error(`the controller does not lead:\n${written}`);
        },
        { withinMs },
      ),
    stop: () => end('SIGTERM'),
    kill: () => end('SIGKILL'),
    ended,
    resident: async () => {
      const status = await readFile(`/proc/${pid}/status`, 'utf8');
      return Number(/^VmRSS:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024;
    },
    [Symbol.asyncDispose]: async () => void (await end('SIGKILL')),
  };
}

/** The value of one sample on a page of metrics; `undefined` when it is not there. `series` as Prometheus prints it. */
export function metric(page: string, series: string): number | undefined {
  const line = page.split('\n').find((text) => text.startsWith(`${series} `));
  return line === undefined ? undefined : Number(line.slice(series.length + 1));
}

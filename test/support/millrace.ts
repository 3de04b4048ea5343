/** `millrace` and the demo as users run them: processes of their own, with nothing of the test's environment. */
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { eventually, WITHIN_MS } from './eventually.ts';
import { programEnv } from './program-env.ts';

const ROOT = join(import.meta.dirname, '../..');
export const MILLRACE = join(ROOT, 'cli/main.ts');
export const DEMO = join(ROOT, 'examples/fractal/demo.ts');

export interface Ended {
  /** The exit code, or the signal that ended it. */
  readonly code: number | NodeJS.Signals;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Program extends AsyncDisposable {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  stdout(): string;
  stderr(): string;
  /** Resolves to the match once it has printed a text like this. */
  prints(text: RegExp, withinMs?: number): Promise<RegExpExecArray>;
}

export interface StartOptions {
  readonly input?: string | Buffer;
  readonly env?: NodeJS.ProcessEnv;
  readonly cwd?: string;
}

/** Starts `file`; disposing kills it. */
export function start(file: string, args: readonly string[], options: StartOptions = {}): Program {
  const child = spawn(process.execPath, [file, ...args], {
    cwd: options.cwd ?? ROOT,
    env: { ...programEnv, ...options.env },
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  child.stdin.on('error', () => undefined); // it need not read its input
  child.stdin.end(options.input ?? '');
  const ended = once(child, 'close').then(([code, signal]): Ended => ({
    code: (code ?? signal) as number | NodeJS.Signals,
    stdout,
    stderr,
  }));
  return {
    child,
    ended,
    stdout: () => stdout,
    stderr: () => stderr,
    prints: (text, withinMs = WITHIN_MS) =>
      eventually(
        () => {
          const match = text.exec(stdout);
          if (match) return match;
          throw new Error(`it did not print ${text} but:\n${stdout}${stderr}`);
        },
        { withinMs },
      ),
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
      await ended;
    },
  };
}

/** Runs `millrace` to its end. */
export async function millrace(args: readonly string[], options: StartOptions = {}): Promise<Ended> {
  await using program = start(MILLRACE, args, options);
  return await program.ended;
}

/** A real terminal for programs that draw on one: a tmux server of its own, without anybody's settings. */
import { execFile } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { promisify } from 'node:util';
import { expect } from 'vitest';
import { eventually } from './eventually.ts';
import { programEnv } from './program-env.ts';

const run = promisify(execFile);

export interface Terminal extends AsyncDisposable {
  /** What can be seen, line by line, without colours. */
  screen(): Promise<string>;
  /** The same with its colours, as escape sequences. */
  painted(): Promise<string>;
  /** Keys as tmux names them: `Enter`, `Tab`, `C-c`, or text. */
  press(...keys: string[]): Promise<void>;
  /** Resolves to the screen once a text like this can be seen. */
  shows(text: RegExp): Promise<string>;
  resize(columns: number, lines: number): Promise<void>;
}

/** Starts `command` of a plain shell, which stays behind it. */
export async function openTerminal(
  size: { readonly columns: number; readonly lines: number },
  command: string,
  env: NodeJS.ProcessEnv,
): Promise<Terminal> {
  const socket = `millrace-test-${randomBytes(4).toString('hex')}`;
  const tmux = async (...args: string[]): Promise<string> =>
    (
      await run('tmux', ['-L', socket, '-f', '/dev/null', ...args], {
        env: { ...programEnv, LANG: 'C.UTF-8', ...env },
      })
    ).stdout;
  const where = ['-t', 'it'];
  const window = ['-x', String(size.columns), '-y', String(size.lines)];
  await tmux('new-session', '-d', '-s', 'it', ...window, 'sh');
  const screen = (): Promise<string> => tmux('capture-pane', '-p', ...where);
  // what is typed before the shell reads it is echoed twice, and the prompt then stands before the first output
  await eventually(async () => expect(await screen()).toMatch(/[#$]/));
  await tmux('send-keys', ...where, '-l', `${command}\n`);
  return {
    screen,
    painted: () => tmux('capture-pane', '-p', '-e', ...where),
    press: async (...keys) => void (await tmux('send-keys', ...where, '--', ...keys)),
    shows: (text) =>
      eventually(
        async () => {
          const seen = await screen();
          expect(seen).toMatch(text);
          return seen;
        },
        { withinMs: 60_000, everyMs: 100 },
      ),
    resize: async (columns, lines) =>
      void (await tmux('resize-window', ...where, '-x', String(columns), '-y', String(lines))),
    [Symbol.asyncDispose]: async () => void (await tmux('kill-server')),
  };
}

/**
 * A terminal that is ours for a while: the alternate screen, keys one by one, and everything as it was at the end, whatever
 * ended it: a return, a signal, or a crash. On node:readline and a handful of escape sequences that every terminal of the
 * last decades knows. The libraries for this are no longer kept (blessed), bring React (ink) or image codecs (terminal-kit).
 */
import { emitKeypressEvents } from 'node:readline';
import type { ReadStream, WriteStream } from 'node:tty';
import { UsageError } from '../../runtime/program.ts';
import { undrawable } from '../terminal/drawable.ts';
import type { Key } from './model.ts';

export interface Screen extends Disposable {
  /** The current size; changes with the window. */
  readonly columns: number;
  readonly lines: number;
  /** Shows exactly these lines. */
  show(lines: readonly string[]): void;
}

export interface ScreenEvents {
  readonly onKey: (key: Key) => void;
  /** The window was resized, or the program was in the background. */
  readonly onResize: () => void;
}

const ENTER = '\u001B[?1049h\u001B[?25l';
const LEAVE = '\u001B[?25h\u001B[?1049l';
const HOME = '\u001B[H';
const CLEAR_LINE = '\u001B[K';
const CLEAR_BELOW = '\u001B[J';
const USUAL = { columns: 80, lines: 24 };

/** `term`: the kind of the terminal, as `TERM` has it. Throws `UsageError` without a terminal that can be drawn on. */
export function openScreen(
  input: ReadStream,
  output: WriteStream,
  term: string | undefined,
  events: ScreenEvents,
): Screen {
  const why = undrawable(input, term) ?? undrawable(output, term);
  if (why !== undefined)
    throw new UsageError(
      `top needs a terminal to draw on, ${why}: add --once to print one screen, or use pools --watch`,
    );
  emitKeypressEvents(input);
  input.setRawMode(true);
  output.write(ENTER);
  let ours = true;
  const restore = (): void => {
    if (!ours) return;
    ours = false;
    output.write(LEAVE);
    input.setRawMode(false);
  };
  const onKey = (
    text: string | undefined,
    { name = '', ctrl = false }: { name?: string; ctrl?: boolean },
  ): void => events.onKey({ name, text: text ?? '', ctrl });
  input.on('keypress', onKey);
  input.resume();
  output.on('resize', events.onResize);
  process.on('SIGCONT', events.onResize);
  process.on('exit', restore);
  // before Node prints the error, which would disappear with the screen
  process.on('uncaughtExceptionMonitor', restore);
  return {
    get columns() {
      return output.columns || USUAL.columns;
    },
    get lines() {
      return output.rows || USUAL.lines;
    },
    show(lines) {
      if (ours)
        output.write(`${HOME}${lines.map((line) => `${line}${CLEAR_LINE}`).join('\r\n')}${CLEAR_BELOW}`);
    },
    [Symbol.dispose]() {
      restore();
      input.off('keypress', onKey).pause();
      output.off('resize', events.onResize);
      process.off('SIGCONT', events.onResize);
      process.off('exit', restore);
      process.off('uncaughtExceptionMonitor', restore);
    },
  };
}

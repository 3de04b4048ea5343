/** A progress bar on stderr for operations longer than a second; none unless stderr is a terminal that can be drawn on. */
import type { SingleBar } from 'cli-progress';
import { formatDuration } from '../../runtime/duration.ts';
import { timeout } from '../../runtime/timers.ts';
import { undrawable } from './drawable.ts';

export interface Progress extends Disposable {
  /** So many more are done. */
  add(count: number): void;
  /** Writes a line to stderr, above the bar. */
  say(text: string): void;
}

/** Back to the start of the line, and what is there removed. */
const CLEAR_LINE = '\r\u001B[K';

/** Shorter operations need no bar, ms. */
const SHOW_AFTER_MS = 1_000;

/**
 * `total` in the unit of `add`; `undefined` if unknown: then it only counts. `rate`: also shows how many are done per second,
 * measured since the beginning.
 */
export type ShowProgress = (what: string, total: number | undefined, rate?: 'rate') => Progress;

/** `term`: the kind of terminal, as `TERM` has it. */
export function progressOn(output: NodeJS.WriteStream, term: string | undefined): ShowProgress {
  const drawn = undrawable(output, term) === undefined;
  return (what, total, rate) => showProgress(output, drawn, what, total, rate);
}

function showProgress(
  output: NodeJS.WriteStream,
  drawn: boolean,
  ...[what, total, rate]: Parameters<ShowProgress>
): Progress {
  const began = performance.now();
  let done = 0;
  let bar: SingleBar | undefined;
  let over = false;
  const begin = async (): Promise<void> => {
    // loading it takes tens of ms, which most commands do not need
    const { default: library } = await import('cli-progress');
    if (over) return;
    const form =
      (total === undefined
        ? `${what}: {value}`
        : `${what} {bar} {percentage} %, ${rate ? '{left}' : '{eta_formatted}'} left`) +
      (rate ? ', {perSecond}/s' : '');
    bar = new library.SingleBar(
      { format: form, clearOnComplete: true, hideCursor: true, stream: output, fps: 5 },
      library.Presets.shades_classic,
    );
    bar.start(total ?? 0, done, speed());
  };
  const speed = (): { perSecond: number; left: string } => {
    const perMs = done / Math.max(1, performance.now() - began);
    const leftS = perMs > 0 ? Math.ceil(((total ?? 0) - done) / perMs / 1_000) : undefined;
    const left = leftS === undefined ? '?' : formatDuration(1_000 * Math.max(0, leftS));
    return { perSecond: Math.round(1_000 * perMs), left };
  };
  const timer = drawn ? timeout(SHOW_AFTER_MS, () => void begin()) : undefined;
  return {
    add(count) {
      done += count;
      bar?.update(total === undefined ? done : Math.min(done, total), speed());
    },
    say(text) {
      // the bar is drawn again within a fifth of a second
      output.write(`${bar ? CLEAR_LINE : ''}${text}\n`);
    },
    [Symbol.dispose]() {
      over = true;
      timer?.clear();
      bar?.stop();
    },
  };
}

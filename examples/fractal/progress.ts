/**
 * Progress on a terminal: one line that is written anew, in colours unless NO_COLOR is set. Elsewhere (a file, CI): a
 * plain line every second.
 */
export interface Progress {
  /** Shows the current state. */
  readonly show: (state: State) => void;
  /** A line that stays. */
  readonly say: (text: string) => void;
  /** Leaves the last state on the screen. */
  readonly end: () => void;
}

export interface State {
  /** Since the tasks were pushed, s. */
  readonly seconds: number;
  readonly total: number;
  readonly completed: number;
  readonly waiting: number;
  readonly inFlight: number;
  /** Ready, and requested. */
  readonly ready: number;
  readonly wanted: number;
  /** Recent tasks per second. */
  readonly rate: number;
}

export interface Output {
  readonly isTTY?: boolean;
  readonly columns?: number;
  write(text: string): unknown;
}

const BAR = 24;
const PLAIN_EVERY_S = 1;

export function createProgress(out: Output, env: NodeJS.ProcessEnv): Progress {
  const live = out.isTTY === true && env['TERM'] !== 'dumb';
  const colour = live && !env['NO_COLOR'];
  let standing: State | undefined;
  let nextPlain = 0;

  const draw = (state: State): string => {
    const text = stateLine(state, colour);
    // a line that wraps cannot be overwritten
    return plainLength(text) < (out.columns ?? 80)
      ? text
      : stateLine(state, false).slice(0, (out.columns ?? 80) - 1);
  };
  return {
    show: (state) => {
      if (live) out.write(`\r\u001B[2K${draw(state)}`);
      else if (state.seconds >= nextPlain) {
        out.write(`${stateLine(state, false)}\n`);
        nextPlain = Math.floor(state.seconds) + PLAIN_EVERY_S;
      }
      standing = state;
    },
    say: (text) => {
      if (!live || !standing) out.write(`${text}\n`);
      else out.write(`\r\u001B[2K${text}\n${draw(standing)}`);
    },
    end: () => {
      if (live && standing) out.write('\n');
      standing = undefined;
    },
  };
}

/** One state as one line. */
export function stateLine(state: State, colour: boolean): string {
  const { seconds, total, completed, waiting, inFlight, ready, wanted, rate } = state;
  const filled = Math.round((completed / Math.max(total, 1)) * BAR);
  const paint = (code: number, text: string): string => (colour ? `\u001B[${code}m${text}\u001B[0m` : text);
  const bar = paint(36, '█'.repeat(filled)) + paint(2, '░'.repeat(BAR - filled));
  return [
    `${seconds.toFixed(1).padStart(5)} s`,
    `${bar} ${String(completed).padStart(String(total).length)}/${total} tiles`,
    `${paint(33, String(waiting))} waiting`,
    `${inFlight} in flight`,
    `${paint(32, String(ready))} of ${wanted} workers up`,
    `${rate.toFixed(0)} tiles/s`,
  ].join('  ');
}

function plainLength(text: string): number {
  // eslint-disable-next-line no-control-regex -- these are what it looks for
  return text.replaceAll(/\u001B\[[0-9;]*[A-Za-z]/g, '').length;
}

/** Reports the events of a local pool, one line for each that is worth reading, without repetition. */
import { recoveryNote } from '../../controller/recover/deaths.ts';
import type { Sampled } from '../../controller/sample/sampled.ts';
import type { Step } from '../../controller/act/step.ts';
import { printable } from '../../runtime/plain-text.ts';
import type { LocalEvent } from './local-target.ts';
import { readLogLine } from './log-line.ts';

export interface Narrator {
  readonly say: (text: string) => void;
  readonly onStep: (step: Step, sampled: Sampled) => void;
  readonly onEvent: (event: LocalEvent) => void;
  /** A log line of the stages that run in this process. */
  readonly onLog: (line: string) => void;
  readonly onError: (error: Error) => void;
  /** Tasks of a dead worker are back in the queue. */
  readonly onRecovered: (worker: string, fate: string, tasks: number) => void;
}

const LOUD = new Set(['warn', 'error', 'fatal']);

export function createNarrator(write: (line: string) => void): Narrator {
  let blind: string | undefined;
  let crashed: string | undefined;
  let failed: string | undefined;
  let scaledUp: { readonly to: number; readonly at: number } | undefined;
  let ready = 0;
  // output of users' code and names of tasks reach a terminal here
  const say = (text: string): void =>
    write(`${new Date().toTimeString().slice(0, 8)}  ${printable(text).trimEnd()}`);

  return {
    say,
    onStep: ({ decision, scaled, replicas }, sampled) => {
      failed = undefined;
      if (scaled) {
        say(decision.reason);
        scaledUp = scaled.to > scaled.from ? { to: scaled.to, at: performance.now() } : undefined;
        ready = replicas.ready;
      }
      const why = sampled.kind === 'unknown' && sampled.reason !== 'NotSampledYet' ? sampled.why : undefined;
      if (why !== blind)
        say(
          why === undefined ? 'the queue can be read again' : `${why}; the number of workers stays as it is`,
        );
      blind = why;
    },
    onEvent: (event) => {
      if (event.kind === 'line') {
        const { level, text, failure } = event.line;
        // the last output of a crashed worker is part of the crash's line
        if (level === undefined ? !failure : LOUD.has(level)) say(`${short(event.id)}: ${text}`);
      } else if (event.kind === 'crashed') {
        if (event.why !== crashed) say(`${event.why}; retrying`);
        crashed = event.why;
      } else if (event.kind === 'ready') {
        crashed = undefined;
        ready++;
        if (!scaledUp || ready < scaledUp.to) return;
        const seconds = ((performance.now() - scaledUp.at) / 1_000).toFixed(2);
        say(`${ready === 1 ? '1 worker is' : `${ready} workers are`} ready, ${seconds} s after that`);
        scaledUp = undefined;
      }
    },
    onLog: (line) => {
      const { level, text } = readLogLine(line.trim());
      if (level === undefined || LOUD.has(level)) say(text);
    },
    onError: ({ message }) => {
      if (message !== failed) say(`the pool could not be scaled: ${message}; retrying`);
      failed = message;
    },
    onRecovered: (worker, fate, tasks) => {
      if (tasks > 0) say(recoveryNote(short(worker), fate, tasks));
    },
  };
}

/** `local-4711-3` is worker 3 for someone who sees only this pool. */
function short(id: string): string {
  return `worker ${id.split('-').at(-1)}`;
}

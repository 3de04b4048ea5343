/**
 * A format of the user's own: the pool names the commands that count what is waiting, in hand and delayed. All of them only
 * read, and return a number; what else a key may hold never leaves Redis.
 */
import { parseDuration } from '../../runtime/duration.ts';
import { asCount, asText, UnexpectedReply } from '../scripts/decode-reply.ts';
import type { Ask } from './ask.ts';
import { askDelayed, delayedIn, MILLISECONDS, SECONDS, type ScoreUnit } from './delayed.ts';
import { question, waking, type Argument, type Command, type Question } from './question.ts';
import type { Source } from './source.ts';

type ReadingCommand = Extract<
  Command,
  'LLEN' | 'ZCARD' | 'ZCOUNT' | 'HLEN' | 'SCARD' | 'XLEN' | 'XPENDING' | 'GET' | 'HGET'
>;

/** One command whose reply is a number. */
export interface ReadingSettings {
  readonly command: ReadingCommand;
  readonly key: string;
  /** `now:s` or `now:ms` stands for the time of Redis, `now:ms*4096` for a multiple of it; `(` before it leaves out the value itself. */
  readonly args?: readonly string[];
}

/** A sorted set whose scores are due times. */
export interface DelayedSettings {
  readonly key: string;
  readonly unit: 's' | 'ms';
  /** A score is the due time in `unit` × `scale`. */
  readonly scale: number;
}

export interface CustomSettings {
  readonly waiting: readonly ReadingSettings[];
  readonly inHand?: readonly ReadingSettings[];
  readonly delayed?: readonly DelayedSettings[];
  readonly finished?: ReadingSettings;
  readonly longestTask?: string;
}

const UNITS = { s: SECONDS, ms: MILLISECONDS } as const;

/** Throws `RangeError` for an argument that cannot be read. */
export function customSource(settings: CustomSettings): Source {
  const { waiting, inHand = [], delayed = [], finished, longestTask } = settings;
  const questions = {
    waiting: waiting.map((one) => waking(reading(one))),
    inHand: inHand.map(reading),
    finished: finished ? [reading(finished)] : [],
  };
  const sets = delayed.map((one) => ({ key: one.key, unit: unitOf(one) }));
  return {
    kind: 'custom',
    read: async (ask, horizonMs) => {
      // in the order in which a task moves, so that one that moves meanwhile is counted twice, and not missed
      const [later, free, held, done] = await Promise.all([
        Promise.all(sets.map((set) => readDelayed(ask, set, horizonMs))),
        ask(questions.waiting),
        ask(questions.inHand),
        ask(questions.finished),
      ]);
      const none = { now: free.now, waiting: 0, inHand: 0, delayed: 0, due: 0, dueSoon: 0 };
      const counted = finished ? { finished: sum(done.answers) } : {};
      return [
        { ...none, waiting: sum(free.answers), inHand: sum(held.answers), ...counted },
        ...later.map((set) => Object.assign({ ...none }, set)),
      ];
    },
    holding:
      inHand.length > 0
        ? { by: 'count', lagMs: 0 }
        : {
            by: 'nobody',
            why: 'source.custom has no inHand, so what runs is not counted',
            longestMs: longestTask === undefined ? undefined : parseDuration(longestTask),
          },
  };
}

async function readDelayed(
  ask: Ask,
  { key, unit }: { readonly key: string; readonly unit: ScoreUnit },
  horizonMs: number,
): Promise<ReturnType<typeof delayedIn>> {
  const { answers } = await ask(askDelayed(key, unit, horizonMs));
  return delayedIn(answers, unit);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, number) => total + number, 0);
}

function unitOf({ unit, scale }: DelayedSettings): ScoreUnit {
  return { factor: UNITS[unit].factor * scale };
}

function reading({ command, key, args = [] }: ReadingSettings): Question<number> {
  const what = `the reply to ${command} ${key}`;
  return question(command, key, args.map(argumentOf), (reply) => {
    // the summary of a group's pending entries begins with their number
    if (command === 'XPENDING' && Array.isArray(reply)) return asCount(reply[0], what);
    if (typeof reply === 'number') return asCount(reply, what);
    if (reply === null) return 0;
    const number = Number(asText(reply, what, 32));
    if (Number.isSafeInteger(number) && number >= 0) return number;
    throw new UnexpectedReply(`${what} as a count`, reply);
  });
}

function argumentOf(text: string): Argument {
  if (!/^\(?now:/.test(text)) return text;
  const [, open, unit, scale = '1'] = /^(\(?)now:(s|ms)(?:\*(\d+(?:\.\d+)?))?$/.exec(text) ?? [];
  if (unit === undefined)
    throw new RangeError(
      `"${text}" is no argument that is known: write now:s, now:ms, or a multiple such as now:ms*4096`,
    );
  const factor = (unit === 's' ? UNITS.s : UNITS.ms).factor * Number(scale);
  return { plusMs: 0, factor, offset: 0, exclusive: open !== '' };
}

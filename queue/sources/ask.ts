/** Asks Redis several questions at one instant and returns checked answers (ask.lua). Nothing is written. */
import type { Redis } from 'ioredis';
import { ReplyError } from 'ioredis';
import { plainText } from '../../runtime/plain-text.ts';
import { WrongKeyType } from '../pool/sample.ts';
import { codeIn } from '../connection/reply-code.ts';
import { asCount, asList, asText } from '../scripts/decode-reply.ts';
import { script } from '../scripts/scripts.ts';
import { COMMANDS, type Argument, type Question } from './question.ts';
import { SourceTrouble } from './source-trouble.ts';

/** A text in an answer, bytes; and the texts and numbers in one answer. */
export const LONGEST = 1_024;
const MOST = 8_000;

type Questions = Readonly<Record<string, Question<unknown>>> | readonly Question<unknown>[];

/** What is answered to each question, under the same names, or in the same order. */
export type Answers<Q> = { readonly [K in keyof Q]: Q[K] extends Question<infer T> ? T : never };

/**
 * One script, and so one round trip; several calls of one tick travel together. `now`: Redis time at the instant of the answers,
 * ms. Throws `WrongKeyType`, which names the key, `UnexpectedReply`, and what the connection throws. The keys of one call must
 * lie in one slot of a cluster.
 */
export type Ask = <Q extends Questions>(
  questions: Q,
) => Promise<{ readonly now: number; readonly answers: Answers<Q> }>;

/** What an answer to a waking question was, to be compared with a later one. */
export interface Watched {
  readonly question: Question<unknown>;
  readonly reply: string;
}

/** `watched` receives the waking questions that are asked, and what was answered. */
export function createAsk(redis: Redis, watched: (one: Watched) => void = () => undefined): Ask {
  return async <Q extends Questions>(
    questions: Q,
  ): Promise<{ readonly now: number; readonly answers: Answers<Q> }> => {
    const entries: [string, Question<unknown>][] = Object.entries(questions);
    const { now, replies } = await askAll(
      redis,
      entries.map(([, question]) => question),
    );
    const answers = entries.map(([name, question], i) => {
      if (question.wakes) watched({ question, reply: describe(replies[i]) });
      return [name, question.decode(replies[i])] as const;
    });
    const found = Array.isArray(questions)
      ? answers.map(([, answer]) => answer)
      : Object.fromEntries(answers);
    return { now, answers: found as Answers<Q> };
  };
}

/** Asks the questions once more, on this connection. Returns the answers to be compared. */
export async function askAgain(redis: Redis, watched: readonly Watched[]): Promise<string[]> {
  const { replies } = await askAll(
    redis,
    watched.map(({ question }) => question),
  );
  return replies.map(describe);
}

function describe(reply: unknown): string {
  return Array.isArray(reply) ? JSON.stringify(reply.map(describe)) : String(reply);
}

async function askAll(
  redis: Redis,
  questions: readonly Question<unknown>[],
): Promise<{ readonly now: number; readonly replies: readonly unknown[] }> {
  if (questions.length === 0) return { now: 0, replies: [] };
  // commands may come out of a pool's spec
  const stray = questions.find(({ command }) => !COMMANDS.includes(command));
  if (stray) throw new RangeError(`${stray.command} is not a command that a source may use`);
  const what = 'the answers of a source';
  const reply = await script(redis, 'ask')(
    questions.length,
    ...questions.map(({ key }) => key),
    LONGEST,
    MOST,
    ...questions.flatMap(({ command, args }) => [args.length, command, ...args.map(encode)]),
  );
  const [now, ...answers] = asList(reply, what, questions.length + 1);
  return {
    now: asCount(now, 'the time'),
    replies: answers.map((answer, i) => {
      const [fine, value] = asList(answer, what, 2);
      if (fine === 1) return value;
      throw refusal(questions[i], asText(value, what));
    }),
  };
}

function encode(argument: Argument): string {
  if (typeof argument !== 'object') return `=${argument}`;
  const { plusMs, factor, offset, exclusive } = argument;
  return `@${exclusive ? '(' : ''}${plusMs} ${factor} ${offset}`;
}

/** What a command needs, by the first letters of its name. */
const TYPES: Readonly<Record<string, string>> = {
  G: 'a string',
  H: 'a hash',
  L: 'a list',
  S: 'a set',
  X: 'a stream',
  Z: 'a sorted set',
};

function refusal(asked: Question<unknown> | undefined, message: string): Error {
  if (asked && codeIn(message) === 'WRONGTYPE')
    return new WrongKeyType(
      asked.key,
      TYPES[asked.command[0] ?? ''] ?? 'of the type',
      `${asked.command} reads it`,
    );
  if (asked && (isNoGroup(message) || MISPUT.test(message))) return cannotExecute(asked, message);
  return new (ReplyError as new (text: string) => Error)(message.replace(/^-/, ''));
}

/** What servers say of a command that is not put as they read it, such as one of a format of the user's own. */
const MISPUT = /wrong number of arg|syntax error|not a (?:valid )?float|not an integer|invalid stream id/i;

const isNoGroup = (message: string): boolean => codeIn(message.replace(/^-/, '')) === 'NOGROUP';

/** In words of our own: the server's may be anything. */
function cannotExecute({ command, key, args }: Question<unknown>, message: string): SourceTrouble {
  const words = args.map((one) => (typeof one === 'object' ? 'now' : String(one)));
  const line = plainText([command, key, ...words].join(' '), 300);
  return isNoGroup(message)
    ? new SourceTrouble(
        'NotFound',
        `there is no such stream or consumer group: ${line}`,
        'check the names of the source, or create the group with XGROUP CREATE',
      )
    : new SourceTrouble(
        'UnknownLayout',
        `Redis does not execute ${line}`,
        'try it with redis-cli, and check command and args in source.custom; a server before Redis 6.2 does not know what the other sources read',
      );
}

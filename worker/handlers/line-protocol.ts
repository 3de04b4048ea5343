/**
 * What a kept-running program and the worker say to each other, one JSON object a line:
 *
 *     → {"id":"7","task":"…","attempt":1}     the task as a string; bytes that are no text are base64,
 *                                             id and all, with "encoding":"base64" beside them; "traceparent" and
 *                                             "tracestate" where the task belongs to a trace
 *     ← {"result":…}                          a string is stored as it is, other JSON as JSON;
 *                                             with "encoding":"base64", a string is decoded to bytes
 *     ← {"error":"…","retry":false}           the attempt failed; "retry":false makes it final, "retryAfter":"30s" (or
 *                                             ms) says when it is to be tried again
 *     ← {"progress":…}                        no answer yet, but how far the task is: any JSON, any number of times
 *
 * With `"id":"7"` in it, an answer says which task it is for, and one that is for another ends the program. A program that
 * leaves it out gets its next task a moment later, so that an answer too many is not taken for the next one's.
 *
 * With `"last":true` in an answer the program says that it will exit now (it has served its number of tasks, it
 * has grown too large), and gets no further task. Without it, the next task may already be on its way.
 */
import { isUtf8 } from 'node:buffer';

import { LONGEST_MS, parseDuration } from '../../runtime/duration.ts';
import type { TaskContext } from '../task/handler.ts';

/** `id`: of the task that it is for, where the program says so. */
export type Answer =
  | {
      readonly kind: 'result';
      readonly id: string | undefined;
      readonly value: unknown;
      readonly last: boolean;
    }
  | {
      readonly kind: 'error';
      readonly id: string | undefined;
      readonly message: string;
      readonly final: boolean;
      /** When to try again, ms from now, where the program says so. */
      readonly retryAfter: number | undefined;
      readonly last: boolean;
    };

/** How far the task is; the answer is still to come. */
export interface ProgressLine {
  readonly kind: 'progress';
  readonly id: string | undefined;
  readonly value: unknown;
}

/** An id as a line has it: of bytes that are no text, base64. */
export function idInLine(id: string | Buffer): string {
  return typeof id === 'string' ? id : id.toString('base64');
}

/** The line for a task, with its line end. */
export function taskLine({ id, raw, attempt, trace }: TaskContext): string {
  const name = idInLine(id);
  const message = isUtf8(raw)
    ? { id: name, task: raw.toString('utf8'), attempt, ...trace }
    : { id: name, task: raw.toString('base64'), encoding: 'base64', attempt, ...trace };
  return `${JSON.stringify(message)}\n`;
}

/** Throws `SyntaxError` in one line that names what is wrong with the answer. */
export function decodeLine(line: Buffer): Answer | ProgressLine {
  const answer = parse(line);
  if (!isObject(answer)) throw new SyntaxError('it is not a JSON object');
  const { result, error, retry, retryAfter, encoding, last } = answer;
  const isLast = last === true;
  const id = decodeId(answer['id']);
  if (error !== undefined && error !== null) {
    const message = typeof error === 'string' ? error : JSON.stringify(error);
    const final = retry === false;
    return { kind: 'error', id, message, final, retryAfter: decodeDelay(retryAfter), last: isLast };
  }
  if (!Object.hasOwn(answer, 'result') && Object.hasOwn(answer, 'progress'))
    return { kind: 'progress', id, value: answer['progress'] };
  if (!Object.hasOwn(answer, 'result')) throw new SyntaxError('it has neither "result" nor "error"');
  if (encoding === undefined || encoding === null) return { kind: 'result', id, value: result, last: isLast };
  if (encoding !== 'base64')
    throw new SyntaxError(`its "encoding" is ${JSON.stringify(encoding)}, not "base64"`);
  return { kind: 'result', id, value: decodeBase64(result), last: isLast };
}

/** Text as it is, a number as it is spelled: ids come from the line of the task. */
function decodeId(given: unknown): string | undefined {
  if (given === undefined || given === null) return undefined;
  if (typeof given === 'string') return given;
  if (typeof given === 'number' || isRawJson(given)) return JSON.stringify(given);
  throw new SyntaxError('its "id" is neither text nor a number');
}

/** A duration, or ms. */
function decodeDelay(given: unknown): number | undefined {
  if (given === undefined || given === null) return undefined;
  // a number of many digits is one all the same
  const value = isRawJson(given) ? Number(JSON.stringify(given)) : given;
  if (typeof value === 'number' && value >= 0) return Math.min(LONGEST_MS, value);
  try {
    if (typeof value === 'string') return parseDuration(value);
  } catch {
    // said below
  }
  throw new SyntaxError('its "retryAfter" is neither ms nor a duration such as "30s"');
}

/** Node skips over what is not base64; a result must not lose bytes without a word. */
function decodeBase64(text: unknown): Buffer {
  if (typeof text === 'string' && /^[A-Za-z0-9+/]*={0,2}$/.test(text) && text.length % 4 === 0) {
    return Buffer.from(text, 'base64');
  }
  throw new SyntaxError('its "result" is not base64 (the standard alphabet, padded)');
}

function parse(line: Buffer): unknown {
  if (!isUtf8(line)) throw new SyntaxError('it is not UTF-8');
  try {
    const text = line.toString('utf8');
    // Other languages have integers of 64 bits and more. Where there may be one, numbers keep their digits.
    return /\d{16}/.test(text) ? JSON.parse(text, keepDigits) : JSON.parse(text);
  } catch (cause) {
    throw new SyntaxError('it is not JSON', { cause });
  }
}

/** `JSON.rawJSON` and a reviver's third argument are ECMAScript 2026; TypeScript's library does not know them yet. */
const rawJson: (source: string) => unknown = Reflect.get(JSON, 'rawJSON');
const isRawJson: (value: unknown) => boolean = Reflect.get(JSON, 'isRawJSON');

function keepDigits(_key: string, value: unknown, at?: { source?: string }): unknown {
  return typeof value === 'number' && at?.source !== undefined ? rawJson(at.source) : value;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

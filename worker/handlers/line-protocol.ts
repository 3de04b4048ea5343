/**
 * The protocol between the worker and a kept-running program, one JSON object per line:
 *
 *     → {"id":"7","task":"…","attempt":1}     the task as a string; a binary task and its id are base64, with
 *                                             "encoding":"base64"; "traceparent" and "tracestate" if the task
 *                                             belongs to a trace
 *     ← {"result":…}                          a string is stored as it is, other JSON as JSON;
 *                                             with "encoding":"base64", a string is decoded to bytes
 *     ← {"error":"…","retry":false}           the attempt failed; "retry":false makes it final, "retryAfter":"30s" (or
 *                                             ms) sets the delay until the next attempt
 *     ← {"progress":…}                        progress of the task: any JSON, any number of times before the answer
 *
 * An answer may contain the id of its task, `"id":"7"`; one with the id of another task ends the program. A program that omits it
 * gets its next task a moment later, so that a surplus answer is not taken for the answer to that one.
 *
 * With `"last":true` in an answer the program announces its exit (it has served its number of tasks, it has grown too large) and
 * gets no further task. Without it, the next task may already be on its way.
 */
import { isUtf8 } from 'node:buffer';
import { LONGEST_MS, parseDuration } from '../../runtime/duration.ts';
import type { RawTask } from '../task/handler.ts';
import type { ReportedError } from './errors.ts';

/** `id`: of its task, if the answer contains it. */
export type Answer =
  | {
      readonly kind: 'result';
      readonly id: string | undefined;
      readonly value: unknown;
      readonly last: boolean;
    }
  | ({
      readonly kind: 'error';
      readonly id: string | undefined;
      readonly last: boolean;
    } & ReportedError);

/** Progress of the task; the answer is still to come. */
export interface ProgressLine {
  readonly kind: 'progress';
  readonly id: string | undefined;
  readonly value: unknown;
}

/** An id as it is written in a line: base64 if it is binary. */
export function idInLine(id: string | Buffer): string {
  return typeof id === 'string' ? id : id.toString('base64');
}

/** The line for a task, with its line feed. */
export function taskLine({
  id,
  raw,
  attempt,
  trace,
}: Pick<RawTask, 'id' | 'raw' | 'attempt' | 'trace'>): string {
  const name = idInLine(id);
  const message = isUtf8(raw)
    ? { id: name, task: raw.toString('utf8'), attempt, ...trace }
    : { id: name, task: raw.toString('base64'), encoding: 'base64', attempt, ...trace };
  return `${JSON.stringify(message)}\n`;
}

/** Throws `SyntaxError`; its message is one line about what is wrong with the answer. */
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

/** Text as it is, a number as it is spelled. */
function decodeId(given: unknown): string | undefined {
  if (given === undefined || given === null) return undefined;
  if (typeof given === 'string') return given;
  if (typeof given === 'number' || isRawJson(given)) return JSON.stringify(given);
  throw new SyntaxError('its "id" is neither text nor a number');
}

/** A duration, or ms. */
function decodeDelay(given: unknown): number | undefined {
  if (given === undefined || given === null) return undefined;
  // numbers of many digits are kept as source text
  const value = isRawJson(given) ? Number(JSON.stringify(given)) : given;
  if (typeof value === 'number' && value >= 0) return Math.min(LONGEST_MS, value);
  try {
    if (typeof value === 'string') return parseDuration(value);
  } catch {
    // reported below
  }
  throw new SyntaxError('its "retryAfter" is neither ms nor a duration such as "30s"');
}

/** Node skips invalid characters; a result must not lose bytes silently. */
function decodeBase64(text: unknown): Buffer {
  if (typeof text === 'string' && /^[A-Za-z0-9+/]*={0,2}$/.test(text) && text.length % 4 === 0) {
    return Buffer.from(text, 'base64');
  }
  throw new SyntaxError('its "result" is not base64 (the standard alphabet, padded)');
}

function parse(line: Buffer): unknown {
  if (!isUtf8(line)) throw new SyntaxError('it is not UTF-8');
  try {
    return parseJson(line.toString('utf8'));
  } catch (cause) {
    throw new SyntaxError('it is not JSON', { cause });
  }
}

/** Other languages have integers of 64 bits and more: where there may be one, numbers keep their digits. Throws `SyntaxError`. */
export function parseJson(text: string): unknown {
  return /\d{16}/.test(text) ? JSON.parse(text, keepDigits) : JSON.parse(text);
}

/** `JSON.rawJSON` and a reviver's third argument are ECMAScript 2026; TypeScript's library lacks them. */
const rawJson: (source: string) => unknown = Reflect.get(JSON, 'rawJSON');
const isRawJson: (value: unknown) => boolean = Reflect.get(JSON, 'isRawJSON');

function keepDigits(_key: string, value: unknown, at?: { source?: string }): unknown {
  return typeof value === 'number' && at?.source !== undefined ? rawJson(at.source) : value;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * Turns what a handler returned into what the result hash stores. Text and bytes go in as they are, without a
 * copy; everything else as JSON, by the rules of `JSON.stringify` (a Date is its ISO string, NaN is null).
 *
 * A handler that returns nothing stores `null`: the client waits for the field to appear, so that a task which
 * has no answer must still show that it is done.
 */

import { isAnyArrayBuffer } from 'node:util/types';
import { describeError } from './describe-error.ts';

/** The largest value that Redis takes by default (`proto-max-bulk-len`), in bytes. */
export const MAX_RESULT_BYTES = 512 * 1024 * 1024;

/** The task ran, but its result cannot be stored. Running it again would end the same way, so it is final. */
export class ResultEncodingError extends Error {
  override readonly name = 'ResultEncodingError';
  readonly retry = false;
}

/**
 * The bytes or the text to store for a handler's result.
 *
 * @param maxBytes the worker's limit, if it is lower than the one of Redis
 * @throws ResultEncodingError in one line that says why the value cannot be stored
 */
export function encodeResult(value: unknown, maxBytes: number = MAX_RESULT_BYTES): Buffer | string {
  const encoded = toTextOrBytes(value);
  const size = Buffer.byteLength(encoded);
  if (size > maxBytes) throw tooLarge(`it has ${size} bytes`, maxBytes);
  return encoded;
}

/** The error for a result over the limit, the same for every kind of handler. */
export function tooLarge(found: string, maxBytes: number): ResultEncodingError {
  return new ResultEncodingError(
    `the result is too large: ${found}, and ${
      maxBytes < MAX_RESULT_BYTES
        ? `at most ${maxBytes} are allowed here`
        : `Redis stores at most ${maxBytes} in one value`
    }; store it elsewhere and return where it is`,
  );
}

function toTextOrBytes(value: unknown): Buffer | string {
  if (typeof value === 'string') return value;
  if (Buffer.isBuffer(value)) return value;
  if (value === undefined) return 'null';
  try {
    if (isAnyArrayBuffer(value)) return Buffer.from(value);
    if (ArrayBuffer.isView(value)) return Buffer.from(value.buffer, value.byteOffset, value.byteLength);
  } catch (cause) {
    throw new ResultEncodingError('the result cannot be stored: its memory was handed to another thread', {
      cause,
    });
  }
  return toJson(value);
}

function toJson(value: unknown): string {
  let json: string | undefined;
  try {
    json = JSON.stringify(value);
  } catch (cause) {
    throw new ResultEncodingError(`the result cannot be stored as JSON: ${whyNot(cause)}`, { cause });
  }
  if (json === undefined) {
    const what = typeof value === 'object' ? 'its toJSON() returned nothing' : `it is a ${typeof value}`;
    throw new ResultEncodingError(`the result cannot be stored as JSON: ${what}`);
  }
  return json;
}

/** The reason in words of a person who has never read V8's; its own first line where the reason is another. */
function whyNot(cause: unknown): string {
  const message = cause instanceof Error && typeof cause.message === 'string' ? cause.message : '';
  if (cause instanceof TypeError && message.includes('BigInt')) {
    return 'it holds a BigInt; return it as a string';
  }
  if (cause instanceof TypeError && message.includes('circular')) {
    const closing = /property '(.+)' closes the circle|index (\d+) closes the circle/.exec(message);
    return `it contains itself${closing ? ` (at ${closing[1] ?? `index ${closing[2]}`})` : ''}`;
  }
  if (cause instanceof RangeError && message.includes('string length')) {
    return 'its JSON is longer than a string can be (about 512 MB)';
  }
  return describeError(message.split('\n', 1)[0] || cause);
}

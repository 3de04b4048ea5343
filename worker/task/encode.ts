/**
 * Encodes what a handler returned for the result hash. Text and bytes are stored as they are, without a
 * copy; everything else as JSON, by the rules of `JSON.stringify` (a Date is its ISO string, NaN is null).
 *
 * A handler that returns nothing stores `null`: the client waits for the field to appear, so a task without an answer must
 * still show that it is done.
 */
import { isAnyArrayBuffer } from 'node:util/types';
import { describeError } from '../../runtime/describe-error.ts';

/** The largest value that Redis takes by default (`proto-max-bulk-len`), in bytes. */
export const MAX_RESULT_BYTES = 512 * 1024 * 1024;

/** The task ran, but its result cannot be stored. Running it again would end the same way, so it is final. */
export class ResultEncodingError extends Error {
  override readonly name = 'ResultEncodingError';
  readonly retry = false;
}

/**
 * Returns the bytes or the text to store for a handler's result. `maxBytes`: the worker's limit, if it is lower than the one of
 * Redis. Throws `ResultEncodingError` with the reason in one line.
 */
export function encodeResult(value: unknown, maxBytes: number = MAX_RESULT_BYTES): Buffer | string {
  const encoded = toTextOrBytes(value);
  // of a text, no character takes more than three bytes
  if (encoded.length * 3 <= maxBytes) return encoded;
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
    }; store it elsewhere and return a reference`,
  );
}

function toTextOrBytes(value: unknown): Buffer | string {
  if (typeof value === 'string') return value;
  if (value === undefined) return 'null';
  if (typeof value !== 'object') return toJson(value);
  if (Buffer.isBuffer(value)) return value;
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

/** A human-readable reason instead of V8's; for unknown errors, the first line of V8's. */
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

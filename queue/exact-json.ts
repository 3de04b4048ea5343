/** JSON whose numbers survive: 12345678901234567890, 1.0 and 1e400 do not survive a round trip through a double. */

/** `JSON.rawJSON` of ECMAScript's proposal-json-parse-with-source, which TypeScript does not know yet. */
const { rawJSON } = JSON as unknown as { readonly rawJSON: (text: string) => object };

/**
 * As `JSON.parse`, for a value that is only to become text again: a number that JavaScript would write in another way is an object that
 * `JSON.stringify` writes as it was. Throws `SyntaxError`, and `RangeError` for what is nested too deeply.
 */
export function exactJson(text: string): unknown {
  const exact = (_: string, value: unknown, { source }: { readonly source?: string }): unknown =>
    typeof value === 'number' && source !== undefined && JSON.stringify(value) !== source
      ? rawJSON(source)
      : value;
  return JSON.parse(text, exact as (key: string, value: unknown) => unknown);
}

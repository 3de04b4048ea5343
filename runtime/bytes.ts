/** Sizes as Kubernetes writes quantities of memory: `16Mi`, `512k`, `1048576`. */

const FACTORS = new Map([
  ['', 1],
  ['k', 1e3],
  ['M', 1e6],
  ['G', 1e9],
  ['Ki', 2 ** 10],
  ['Mi', 2 ** 20],
  ['Gi', 2 ** 30],
]);

/**
 * Bytes of a size; whole, from 1 to `max`.
 * Throws `RangeError` in one line that says what is accepted
 */
export function parseBytes(text: string, max: number): number {
  const [, number = '', unit = ''] = /^(\d+)(k|M|G|Ki|Mi|Gi)?$/.exec(text) ?? [];
  const size = Number(number) * (FACTORS.get(unit) ?? 1);
  if (number !== '' && size >= 1 && size <= max) return size;
  const shown = JSON.stringify(text.length > 60 ? `${text.slice(0, 60)}…` : text);
  throw new RangeError(
    `${shown} is not a size: write a whole number of bytes, such as 16Mi, 512Ki or 1048576, from 1 to ${max}`,
  );
}

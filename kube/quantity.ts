/** Kubernetes' quantities, `500m`, `80Mi`, `1e3`, as numbers. Pure. */

const FACTORS = new Map([
  ['', 1],
  ['n', 1e-9],
  ['u', 1e-6],
  ['m', 1e-3],
  ...['k', 'M', 'G', 'T', 'P', 'E'].map((unit, i): [string, number] => [unit, 1e3 ** (i + 1)]),
  ...['Ki', 'Mi', 'Gi', 'Ti', 'Pi', 'Ei'].map((unit, i): [string, number] => [unit, 1024 ** (i + 1)]),
]);

/** Cores of an amount of CPU, bytes of an amount of memory; `undefined` if it is not a quantity. */
export function parseQuantity(text: unknown): number | undefined {
  if (typeof text !== 'string' && typeof text !== 'number') return undefined;
  const match = /^([+-]?(?:\d+\.?\d*|\.\d+))(?:[eE]([+-]?\d+)|([numkMGTPE]|[KMGTPE]i))?$/.exec(String(text));
  if (!match) return undefined;
  const [, number = '', exponent = '0', unit = ''] = match;
  return Number(number) * 10 ** Number(exponent) * (FACTORS.get(unit) ?? 1);
}

/** Whether `a` is less than `b`, by more than rounding. */
export function isLess(a: number, b: number): boolean {
  return a < b * (1 - 1e-9);
}

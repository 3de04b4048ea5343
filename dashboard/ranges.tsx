import type { PastRange } from '../controller/dashboard/api.ts';
import { hrefOf } from './route.ts';

const RANGES: readonly (readonly [range: PastRange | undefined, name: string])[] = [
  [undefined, '15 min (live)'],
  ['6h', '6 h'],
  ['24h', '24 h'],
  ['7d', '7 d'],
];

/** The range of the charts; part of the address. */
export function Ranges({ pool, range: chosen }: { pool: string; range: PastRange | undefined }) {
  return (
    <div class="ranges" role="group" aria-label="The charts show the last">
      {RANGES.map(([range, name]) => (
        <button
          key={name}
          type="button"
          class="chip"
          aria-pressed={range === chosen}
          onClick={() => void (location.hash = hrefOf(pool, range))}
        >
          {name}
        </button>
      ))}
    </div>
  );
}

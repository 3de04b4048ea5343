import type { PoolRow, PoolState } from '../controller/dashboard/api.ts';

const WORDS: Record<PoolState, string> = {
  trouble: 'Trouble',
  scaling: 'Scaling',
  working: 'Working',
  paused: 'Paused',
  idle: 'Idle',
  unknown: 'Not seen yet',
};

/** A pool's state as a word; the colour only repeats it. */
export function State({ row }: { row: Pick<PoolRow, 'state' | 'mode'> }) {
  return (
    <span class={`state ${row.state}`}>
      <span class="dot" aria-hidden="true" />
      {WORDS[row.state]}
      {row.mode === 'DryRun' && <span class="mode"> · dry run</span>}
    </span>
  );
}

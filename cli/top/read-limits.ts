/** The limits of an opened row's queues, with the keys that have the most held tasks. */
import { showLimits, type LimitsView } from '../../queue/limits/limits.ts';
import { usageOf } from '../../queue/limits/usage.ts';
import type { TopLimit } from './model.ts';
import type { TopPlace } from './place.ts';

/** Of each queue. */
const KEYS_READ = 50;

export async function readLimits({ redisOf, queues }: TopPlace): Promise<readonly TopLimit[]> {
  const each = await Promise.all(
    queues.map(async (keys) => {
      const view = await showLimits(redisOf(keys), keys, KEYS_READ);
      return view ? rowsOf(keys.queue, view) : [];
    }),
  );
  return each.flat();
}

function rowsOf(queue: string, view: LimitsView): TopLimit[] {
  const { by, keys, limits, now } = view;
  /** By the clock of this machine, as all times on the screen. */
  const here = (time: number): number => time - now + Date.now();
  const at = here(view.at);
  const most = limits.perKey?.concurrency;
  const rows = usageOf(view).map((usage): TopLimit =>
    Object.assign(usage, { queue, nextAt: undefined, by, at }),
  );
  const waiting = keys.map(({ key, held, running, nextAt }): TopLimit => {
    const used = most === undefined ? undefined : running;
    return {
      queue,
      kind: 'key',
      text: key,
      used,
      most,
      held,
      nextAt: nextAt === undefined ? undefined : here(nextAt),
      by,
      at,
    };
  });
  return [...rows, ...waiting];
}

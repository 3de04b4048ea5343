/** Celery: queues that no worker takes from, by the workers' own answers. What they hold is in `Concern`s (celery-workers.ts). */
import type { Redis } from 'ioredis';
import type { Ask } from '../ask.ts';
import { controlOf, keysOf, type CelerySettings } from '../celery.ts';
import { count } from '../question.ts';
import { adviseUnserved, type SourceAdvice } from './advice.ts';

export async function checkCelery(settings: CelerySettings, ask: Ask, redis: Redis): Promise<SourceAdvice[]> {
  const { queues } = settings;
  const { queues: said, now } = await controlOf(settings).ask(redis, 'no');
  const takesFrom = [...said.values()].filter(({ at }) => now - at < 30_000).map(({ answer }) => answer);
  const { queues: lists } = keysOf(settings);
  const found = await Promise.all(
    queues.map(async (queue, i) => {
      const { answers } = await ask((lists[i]?.lists ?? []).map((key) => count('LLEN', key)));
      const workers = takesFrom.filter((names) => names.includes(queue)).length;
      return { queue, work: answers.reduce((sum, one) => sum + one, 0), workers };
    }),
  );
  return adviseUnserved(
    found,
    takesFrom.flat().filter((name) => !queues.includes(name)),
  );
}

/** What happens to worker processes, whatever their Redis is. */
import { setTimeout as delay } from 'node:timers/promises';
import type { Fleet, Pod } from './fleet.ts';
import type { WorkerFault } from './plan.ts';

/** Those whom a fault hits: one, or a share of all that there are now. */
export function chosen({ pods }: Fleet, who: number, share = 0): Pod[] {
  const count = Math.min(pods.length, Math.max(1, Math.round(pods.length * share)));
  const first = Math.floor(who * pods.length);
  return Array.from({ length: count }, (_, i) => pods[(first + i) % pods.length] as Pod);
}

/** Resolves when it is over, to the names of the workers that did not expect it. */
export async function strikeWorkers(fleet: Fleet, fault: WorkerFault): Promise<string[]> {
  const hit = chosen(fleet, fault.who, fault.kind === 'kill' ? fault.share : 0);
  switch (fault.kind) {
    case 'kill':
      for (const pod of hit) fleet.kill(pod, fault.back);
      break;
    case 'pause':
      for (const { child } of hit) child.kill('SIGSTOP');
      await delay(fault.ms);
      for (const { child } of hit) child.kill('SIGCONT');
      break;
    case 'evict':
      for (const pod of hit) fleet.evict(pod);
      return [];
  }
  return hit.map(({ id }) => id);
}

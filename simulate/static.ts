/** A fixed number of replicas, all up from the beginning. */
import type { Autoscaler } from './autoscaler.ts';

export function fixed(replicas: number): Autoscaler {
  return {
    name: `static, ${replicas}`,
    victims: 'any',
    initial: replicas,
    look: () => ({ replicas, next: Infinity, wakesOnPush: false }),
  };
}

import { size, started, type Learned } from '../controller/promise.ts';
import type { Autoscaler } from './autoscaler.ts';
export function draft({minReplicas, maxReplicas, waitMs, slots, windowMs}: any): Autoscaler & { learned: Learned | undefined } {
  const me: any = {
    name: 'Millrace', victims: 'idle', initial: minReplicas, learned: undefined,
    look: (now: number, w: any) => {
      const counters = { taken: w.taken, completed: w.completed, failed: 0, retried: 0, serviceUs: w.serviceMs * 1000 };
      const s = size({ waitMs, slots, windowMs }, { now, waiting: w.waiting, inFlight: w.inFlight, counters, wanted: w.wanted, ready: w.ready }, me.learned);
      const needed = s.needed ?? Math.ceil((w.waiting + w.inFlight) / 5);
      const desired = Math.min(maxReplicas, Math.max(minReplicas, needed, Math.min(w.wanted, s.keep)));
      me.learned = started(s.learned, desired - w.wanted, now);
      const active = w.waiting + w.inFlight > 0 || desired > minReplicas || w.existing !== desired;
      return { replicas: desired, next: now + (active ? 1000 : 30000), listens: true };
    },
  };
  return me;
}

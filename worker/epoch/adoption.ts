/** A task that came by the idle wait: it begins immediately if it may, without a turn. */
import type { QueueKeys } from '../../queue/keys.ts';
import type { Adopted } from '../../queue/workers/adopt.ts';
import type { QueueMetrics } from '../process/metrics.ts';
import type { OutcomeBatch } from '../turn/batch.ts';
import type { WorkerHealth } from './health.ts';
import type { Lane } from './slots/lane.ts';
import type { WorkerSlots } from './slots/slots.ts';
import { adopted, withHints, type EpochMode, type EpochState } from './state.ts';
import type { Tasks } from './tasks/tasks.ts';
import type { Wakeup } from './wakeup.ts';

/** What it changes of an epoch. */
interface Adopting {
  state: EpochState;
  readonly mode: EpochMode;
  /** Tasks to hold in all queues, running ones included. */
  readonly target: number;
  readonly wakeup: Wakeup;
  readonly batch: OutcomeBatch;
  readonly tasks: Tasks;
  readonly lane: Lane;
  readonly options: {
    readonly keys: QueueKeys;
    readonly slots: WorkerSlots;
    readonly metrics: QueueMetrics;
    readonly health: WorkerHealth | undefined;
  };
}

export function takeAdopted(context: Adopting, { delivery, counter, more }: Adopted): void {
  const { options, tasks, batch, lane, wakeup } = context;
  const { keys, slots, metrics, health } = options;
  const state = adopted(context.state, { counter, more });
  context.state = state ?? withHints(context.state, { woken: true });
  wakeup.wake();
  if (!state) return;
  metrics.taken(1);
  health?.turned(keys.queue, state.holds);
  slots.guardLeases();
  if (!mayKeep(context)) return batch.release([delivery], performance.now());
  // if the worker is lost now, the task was not alone
  if (slots.beside(lane) > 0 && state.reported.elsewhere === 0)
    context.state = withHints(context.state, { turnNow: true });
  tasks.add([delivery], performance.now());
  tasks.fill();
}

/** Since the wait began, slots and orders may have changed. */
function mayKeep({ mode, target, options, lane }: Adopting): boolean {
  const { slots } = options;
  if (mode !== 'taking' || slots.mustWait(lane)) return false;
  return slots.free > 0 || slots.holding < target;
}

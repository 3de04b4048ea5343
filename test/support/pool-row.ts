/** A row of the dashboard's list. */
import type { PoolRow } from '../../controller/dashboard/api.ts';

/** Of an idle pool, `namespace/name`. */
export const poolRow = (key: string, more: Partial<PoolRow> = {}): PoolRow => ({
  key,
  queue: 'q',
  state: 'idle',
  trouble: null,
  known: true,
  asOf: 0,
  waiting: 0,
  inFlight: 0,
  delayed: 0,
  dead: 0,
  replicas: 0,
  ready: 0,
  desired: 0,
  maxReplicas: 10,
  mode: 'Active',
  targetMs: null,
  waitP50: null,
  waitP95: null,
  arriving: 0,
  finishing: 0,
  decision: null,
  decidedAt: null,
  ...more,
});

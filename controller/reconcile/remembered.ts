/**
 * The state of a pool from one reconcile to the next, with a part for each stage, which only that stage writes. A restart loses
 * all of it.
 */
import { initialActState, type ActState } from '../act/act.ts';
import type { CronsState } from '../act/crons.ts';
import { initialLimitsState, type LimitsState } from '../act/limits.ts';
import { initialJobsState, type JobsState } from '../act/jobs/jobs.ts';
import { initialConnectState, type ConnectState } from '../connect/connect.ts';
import { initialObserveState, type ObserveState } from '../observe/observer.ts';
import { initialReportState, type ReportState } from '../report/report.ts';
import { initialDecideState, type DecideState } from './decide-inputs.ts';

export interface Remembered {
  readonly connect: ConnectState;
  readonly decide: DecideState;
  readonly act: ActState;
  /** Of a pool with cron tasks. */
  crons: CronsState | undefined;
  readonly limits: LimitsState;
  /** Not before it is needed: see `jobsStateOf`. */
  jobs: JobsState | undefined;
  readonly observe: ObserveState;
  readonly report: ReportState;
  /** Since when the API server, or the program, fails at the pool, ms of the elapsed clock. */
  failingSince: number | undefined;
  /** When its removal was first attempted, ms of the elapsed clock. */
  leavingSince: number | undefined;
}

/** Of a pool that runs Jobs, or did. */
export function jobsStateOf(state: Remembered): JobsState {
  return (state.jobs ??= initialJobsState());
}

export function nothingRemembered(): Remembered {
  return {
    connect: initialConnectState(),
    decide: initialDecideState(),
    act: initialActState(),
    crons: undefined,
    limits: initialLimitsState(),
    jobs: undefined,
    observe: initialObserveState(),
    report: initialReportState(),
    failingSince: undefined,
    leavingSince: undefined,
  };
}

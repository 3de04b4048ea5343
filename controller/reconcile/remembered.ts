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
  readonly crons: CronsState;
  readonly limits: LimitsState;
  readonly jobs: JobsState;
  readonly observe: ObserveState;
  readonly report: ReportState;
  /** When its removal was first attempted, ms of the elapsed clock. */
  leavingSince: number | undefined;
}

export function nothingRemembered(): Remembered {
  return {
    connect: initialConnectState(),
    decide: initialDecideState(),
    act: initialActState(),
    crons: new Map(),
    limits: initialLimitsState(),
    jobs: initialJobsState(),
    observe: initialObserveState(),
    report: initialReportState(),
    leavingSince: undefined,
  };
}

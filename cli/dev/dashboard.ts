/**
 * The dashboard of `millrace dev`: the controller's own, with one pool in it. Only this machine reaches it, and only under its
 * own names; the address that is printed hands the token over, so that whoever runs `dev` may act, and no other page.
 */
import { randomBytes } from 'node:crypto';
import type { PoolSource } from '../../controller/dashboard/board.ts';
import { createDashboard, type Attached } from '../../controller/dashboard/dashboard.ts';
import { openGate } from '../../controller/dashboard/gate.ts';
import { createStrikes } from '../../controller/dashboard/strikes.ts';
import { statusOf } from '../../controller/report/status.ts';
import type { Observation } from '../../controller/observe/observation.ts';
import type { Sampled } from '../../controller/sample/sampled.ts';
import type { Step } from '../../controller/act/step.ts';
import { refOf } from '../../kube/watch.ts';
import {
  GROUP,
  KIND,
  queuesOf,
  VERSION,
  type CronStatus,
  type WorkerPool,
  type WorkerPoolSpec,
} from '../../kube/workerpool.ts';
import { systemClock } from '../../runtime/clock.ts';
import { serveHttp } from '../../runtime/http.ts';
import type { Logger } from '../../runtime/log.ts';
import { createMetrics } from '../../runtime/metrics.ts';
import { version } from '../../runtime/version.ts';
import { devPool } from '../access/dev-pool-name.ts';

/** The default port; a free one if it is in use. */
const USUAL_PORT = 8080;

export interface DevDashboard extends AsyncDisposable {
  /** To open in a browser; contains the token. */
  readonly url: string;
  /** The address of the pool's queues, once they are sampled. */
  show(source: Omit<PoolSource, 'pools'>): void;
  /** Reports a step, after it was made. */
  onStep(step: Step, sampled: Sampled, crons: readonly CronStatus[]): void;
  observed(observation: Observation): void;
}

export interface DevDashboardOptions {
  readonly spec: WorkerPoolSpec;
  /** `undefined`: the default, or any free one. */
  readonly port: number | undefined;
  readonly log: Logger;
}

/** Serves until it is disposed. Rejects if the requested port is unavailable. */
export async function startDevDashboard(options: DevDashboardOptions): Promise<DevDashboard> {
  const { spec, port, log } = options;
  // as recorded in Redis, except for slashes, which only a queue's name may contain
  const key = devPool(queuesOf(spec).map((queue) => queue.replaceAll('/', '-')));
  let pool: WorkerPool = { apiVersion: `${GROUP}/${VERSION}`, kind: KIND, metadata: refOf(key), spec };
  const pools = new Map([[key, pool]]);
  const token = randomBytes(18).toString('base64url');
  const dashboard = createDashboard({
    version,
    host: 'dev',
    showTasks: true,
    gate: openGate(
      () => Promise.resolve(token),
      createStrikes({ log, counted: () => undefined, now: () => performance.now() }),
    ),
    hostnames: ['localhost', '127.0.0.1'],
    log,
    now: () => systemClock.now(),
  });
  const serve = (wanted: number): ReturnType<typeof serveHttp> =>
    serveHttp({
      port: wanted,
      flag: '--dashboard',
      host: '127.0.0.1',
      metrics: createMetrics([]),
      unhealthy: () => undefined,
      unready: () => undefined,
      route: dashboard.route,
    });
  const http = await (port === undefined ? serve(USUAL_PORT).catch(() => serve(0)) : serve(port));
  let attached: Attached | undefined;
  return {
    url: `http://127.0.0.1:${http.port}/dashboard/#token=${token}`,
    show: (source) => void (attached = dashboard.attach({ pools, ...source })),
    observed: (observation) => attached?.observed(key, observation),
    onStep: (step, sampled, crons) => {
      const now = new Date();
      const nothing = { trouble: undefined, selector: undefined, wake: '', poison: undefined };
      pool = { ...pool, status: statusOf({ pool, sampled, step, now, crons, ...nothing }) };
      pools.set(key, pool);
    },
    [Symbol.asyncDispose]: async () => {
      attached?.[Symbol.dispose]();
      await http[Symbol.asyncDispose]();
    },
  };
}

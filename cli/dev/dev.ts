/**
 * `cli/dev/` takes the flags of `millrace dev` and runs a pool of local processes with the controller's own stages. It knows
 * nothing of a cluster.
 *
 * `millrace dev`: a pool on this machine. The controller's own loop over local worker processes, on a given Redis or on one that
 * is started for as long as this runs. Decisions are printed as they are made.
 *
 * Ctrl-C ends it: workers finish their tasks within the grace period (a second Ctrl-C makes them hand the tasks back), then
 * the Redis that was started here stops. Nothing is left behind.
 */
import { availableParallelism } from 'node:os';
import type { WorkerPoolSpec } from '../../kube/workerpool.ts';
import type { QueueFlags } from '../../queue/flags.ts';
import type { QueueKeys } from '../../queue/keys.ts';
import { levelKeys, type Level } from '../../queue/priorities.ts';
import { onSignals } from '../../runtime/lifecycle.ts';
import { UsageError } from '../../runtime/usage-error.ts';
import { createLog, type Logger } from '../../runtime/log.ts';
import { logLevels, type LogLevel } from '../../runtime/log-level.ts';
import { checkOneHandler, handlerFlagsOf } from '../../worker/flags/handler-flags.ts';
import { checkedAddress, checkedKeys, checkedLists } from '../access/checked.ts';
import { devPool } from '../access/dev-pool-name.ts';
import { startDevDashboard, type DevDashboard } from './dashboard.ts';
import { devSettings, type DevFlags } from './settings.ts';
import { readPool } from '../access/pool-file.ts';
import type { CommandLog } from '../terminal/command-log.ts';
import { readLogLine } from './log-line.ts';
import { createNarrator } from './narrator.ts';
import { startLocalRedis, type LocalRedis } from './local-redis.ts';
import type { Install } from './redis-program.ts';
import { createLocalTarget } from './local-target.ts';
import { startPoolLoop } from './pool-loop.ts';
import { workerProgram } from './worker-program.ts';

/** The default port of clients. */
const USUAL_PORT = 6379;
/** More often than in a cluster, as people watch, ms. */
const POLL_MS = 250;

interface DevCommandFlags extends DevFlags {
  readonly install?: true;
  readonly pool?: string;
  readonly grace: number;
  /** The port; `false`: no dashboard; by default on a free port. */
  readonly dashboard?: boolean | number;
}

/** Runs until a signal. `given`: the Redis to use; without it, one is started. */
export async function dev(
  flags: DevCommandFlags,
  given: QueueFlags | undefined,
  env: NodeJS.ProcessEnv,
  { level }: CommandLog,
): Promise<void> {
  const { settings, handler, spec, policy, dryRun, names, queues, records } = await plan(flags);
  const address = given && checkedAddress(given);

  using signals = onSignals();
  const narrator = createNarrator((line) => void process.stdout.write(`${line}\n`));
  const log = createDevLog(level, narrator.onLog);
  const broken = new AbortController();
  await using own = address
    ? undefined
    : await startOwnRedis(env, flags.install ? 'yes' : 'ask', narrator.say, (why) =>
        broken.abort(new Error(why)),
      );
  const redis = address ?? { url: own?.url };

  await using target = createLocalTarget({
    graceMs: flags.grace,
    worker: (id) => workerProgram({ ...settings, ...handler, redis, graceMs: flags.grace }, id, env),
    onEvent: (event) => {
      narrator.onEvent(event);
      if (event.kind === 'ready') loop.decideAgain();
      if (event.kind !== 'crashed') return;
      // tasks that cannot be put back now are recovered when its lease ends
      const { id, how } = event;
      loop.recover(id, how).then(
        (tasks) => narrator.onRecovered(id, how, tasks),
        (error: unknown) => log.debug({ err: error }, `the tasks of ${id} could not be put back yet`),
      );
    },
  });
  await using dashboard = await openDashboard(flags.dashboard, spec, log);
  const { crons, limits } = spec;
  const pool = {
    redis,
    queues,
    records,
    policy,
    dryRun,
    crons,
    limits,
    priorities: settings.priorities,
    target,
    pool: devPool(names),
    pollMs: POLL_MS,
    log,
  };
  await using loop = startPoolLoop({
    ...pool,
    onCrons: (ids) => narrator.say(`due by cron, and in the queue: ${ids.join(', ')}`),
    onStep: (made, sampled, status) => {
      narrator.onStep(made, sampled);
      dashboard?.onStep(made, sampled, status);
    },
    observed: (observation) => dashboard?.observed(observation),
    onError: (error) => {
      log.debug({ err: error }, 'a step failed; retrying');
      narrator.onError(error);
    },
  });
  dashboard?.show({
    sampled: () => loop.sampled(),
    queuesOf: () => ({ redisOf: loop.sampler.redisOf, queues, records }),
  });
  signals.hurry.addEventListener('abort', () => target.hurry());
  narrator.say(
    `${policy.minReplicas} to ${policy.maxReplicas} workers for ${lists(names)}${inPartitions(settings.partitions)}, results in the hash ` +
      `"${settings.result}"; Ctrl-C ends it`,
  );
  if (dashboard) narrator.say(`dashboard at ${dashboard.url}`);
  await aborted(AbortSignal.any([signals.stopping, broken.signal]));
  if (broken.signal.aborted) throw broken.signal.reason;
  narrator.say(farewell(target.workers.length));
}

/** The settings of the run, from its flags and the file of a pool. Throws `UsageError` if they contradict each other. */
async function plan(flags: DevCommandFlags) {
  checkOneHandler(flags);
  const pool = flags.pool === undefined ? undefined : await readPool(flags.pool);
  const { spec, policy, dryRun, ...settings } = devSettings(flags, pool, availableParallelism());
  const names = settings.queues ?? [settings.queue];
  const { result, partitions } = settings;
  const parts = checkedLists({ queue: settings.queue, result }, partitions);
  const own = parts.partitioned ? parts.queues : names.map((queue) => checkedKeys({ queue, result }));
  const levels = (settings.priorities ?? []).map((level) => levelOf(parts.queues[0], level));
  const queues = [...own, ...levels];
  const handler = handlerFlagsOf(flags);
  const records = parts.partitioned?.keys;
  return { settings, handler, spec, policy, dryRun, names, queues, records };
}

function levelOf(keys: QueueKeys, level: Level): QueueKeys {
  try {
    return levelKeys(keys, level);
  } catch (error) {
    throw new UsageError((error as Error).message, { cause: error });
  }
}

async function openDashboard(
  wanted: boolean | number | undefined,
  spec: WorkerPoolSpec,
  log: Logger,
): Promise<DevDashboard | undefined> {
  if (wanted === false) return undefined;
  return await startDevDashboard({ spec, port: typeof wanted === 'number' ? wanted : undefined, log });
}

function farewell(busy: number): string {
  if (busy === 0) return 'stopping';
  return `stopping: ${busy} ${busy === 1 ? 'worker finishes what it runs' : 'workers finish what they run'}`;
}

/** Passes warnings to `narrate`, and writes lines from `level` on to stderr. */
function createDevLog(level: LogLevel, narrate: (line: string) => void): Logger {
  const severity = (name: string): number => logLevels.findIndex((one) => one === name);
  const least = severity(level) < severity('warn') ? level : 'warn';
  return createLog('millrace-dev', least, {
    write: (line) => {
      narrate(line);
      if (severity(readLogLine(line.trim()).level ?? '') >= severity(level)) process.stderr.write(line);
    },
  });
}

function inPartitions(numbers: readonly number[] | undefined): string {
  return numbers ? ` in ${numbers.join(' and ')} partitions` : '';
}

function lists(names: readonly string[]): string {
  const quoted = names.map((name) => `"${name}"`).join(', ');
  return names.length === 1 ? `the list ${quoted}` : `the lists ${quoted} (in that order)`;
}

async function startOwnRedis(
  env: NodeJS.ProcessEnv,
  install: Install,
  say: (text: string) => void,
  onEnd: (why: string) => void,
): Promise<LocalRedis> {
  const redis = await startLocalRedis({ env, install, preferredPort: USUAL_PORT, onProgress: say, onEnd });
  say(`${redis.what} at ${redis.url}, for as long as this runs; nothing in it is kept`);
  return redis;
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener('abort', () => resolve(), { once: true });
  });
}

#!/usr/bin/env node
/**
 * `worker/`: the program: takes flags and returns an exit code; `worker.ts` is the same as a library. It registers, runs one
 * epoch after the other and leaves nothing behind. It knows nothing of Kubernetes.
 *
 * `millrace-worker`: takes tasks from a queue and runs them with a module's function, a command or a server.
 */
import './process/init.ts';
import { hostname } from 'node:os';
import { systemClock } from '../runtime/clock.ts';
import { WORKER_PROGRAM } from '../runtime/failure-line.ts';
import { mostTasks } from '../runtime/concurrency.ts';
import { serveHttp } from '../runtime/http.ts';
import { onSignals } from '../runtime/lifecycle.ts';
import { createLog, rethrow, type Logger } from '../runtime/log.ts';
import { LogEvent } from '../runtime/log-event.ts';
import { runProgram } from '../runtime/program.ts';
import { version } from '../runtime/version.ts';
import { MAX_RESULT_BYTES } from './task/encode.ts';
import { parseWorkerFlags, type WorkerFlags } from './flags/flags.ts';
import { workerSettings } from './flags/settings.ts';
import type { OpenHandler } from './task/handler.ts';
import { openCommand, type LogSource } from './handlers/command.ts';
import { openHttp } from './handlers/http.ts';
import { openLines } from './handlers/lines.ts';
import { openModule } from './handlers/module.ts';
import { openPython, type PythonOptions } from './handlers/python.ts';
import { createWorkerHealth } from './epoch/health.ts';
import type { WorkerOptions } from './epoch/options.ts';
import { checkOneHandler } from './flags/handler-flags.ts';
import { waitOutGrace } from './process/grace.ts';
import { giveMemoryBack } from './process/idle-memory.ts';
import { createWorkerMetrics } from './process/metrics.ts';
import { defaultWorkerId, runWorker } from './worker.ts';

/** Opens what runs the tasks. With `--http`, that waits for the server until `stopping`. */
async function openHandler(
  flags: WorkerFlags,
  log: Logger,
  stopping: AbortSignal,
  onShortage: (why: string | undefined) => void,
): Promise<OpenHandler> {
  checkOneHandler(flags);
  const { module, python, command = '', http } = flags;
  const maxOutputBytes = flags.resultMaxSize;
  if (module) return openModule(module, process.cwd(), { timeoutMs: flags.moduleTimeout ?? 0, stopping });
  if (http) {
    const timeoutMs = flags.httpTimeout;
    return openHttp({
      url: http,
      timeoutMs,
      maxOutputBytes,
      log: (line, about) => log.warn(about ?? {}, line),
      stopping,
    });
  }
  const program = {
    cwd: process.cwd(),
    env: withoutSecrets(process.env),
    log: (line: string, source: LogSource) =>
      log.info({ ...source, line }, python ? 'output of Python' : 'stderr of the command'),
    maxOutputBytes,
    onShortage,
  };
  // those that a pool of processes may need
  const concurrency = mostTasks(flags.concurrency);
  if (python) return openPython({ ...program, ...pythonOptions(python, flags), concurrency, stopping });
  if (!flags.keepRunning) return openCommand({ ...program, command });
  return openLines({ ...program, command, concurrency, maxOutputBytes: lineLimit(maxOutputBytes) });
}

function pythonOptions(
  target: string,
  flags: WorkerFlags,
): Pick<PythonOptions, 'target' | 'executable' | 'processes' | 'maxTasks' | 'maxMemoryBytes' | 'timeoutMs'> {
  const {
    pythonExecutable: executable = 'python3',
    pythonProcesses,
    pythonMaxTasks,
    pythonMaxMemory,
    moduleTimeout = 0,
  } = flags;
  return {
    target,
    executable,
    processes: pythonProcesses,
    maxTasks: pythonMaxTasks,
    maxMemoryBytes: pythonMaxMemory,
    timeoutMs: moduleTimeout,
  };
}

/** The credentials of Redis are not passed on to the programs that run tasks. */
function withoutSecrets(env: NodeJS.ProcessEnv): NodeJS.ProcessEnv {
  return Object.fromEntries(Object.entries(env).filter(([name]) => !name.startsWith('MILLRACE_REDIS_')));
}

/** The longest line that may hold a result of `resultBytes`: JSON writes some bytes as six. A progress report always fits. */
function lineLimit(resultBytes: number): number {
  return Math.min(MAX_RESULT_BYTES, Math.max(6 * resultBytes, 1 << 20));
}

/** Why the worker takes no tasks: for people, on /readyz. */
interface Readiness {
  /** `undefined` once it is registered. */
  reason: string | undefined;
  /** A shortage of processes, memory or file descriptors. */
  shortage: string | undefined;
}

async function main(): Promise<void> {
  // in a pod the host name is the pod's name, by which the controller identifies it
  const inPod = process.env['KUBERNETES_SERVICE_HOST'] !== undefined;
  const flags = parseWorkerFlags(process.argv, process.env, inPod ? hostname() : defaultWorkerId());
  const settings = workerSettings(flags);
  const log = createLog(WORKER_PROGRAM, flags.logLevel);
  using signals = onSignals();
  const metrics = createWorkerMetrics();
  using health = createWorkerHealth(settings.leaseMs);
  const state: Readiness = { reason: 'its handler is not open yet', shortage: undefined };
  const unhealthy = (): string | undefined => health.unhealthy();
  const unready = (): string | undefined => state.reason ?? state.shortage ?? health.unready();
  const { httpPort: port } = flags;
  await using http = port === undefined ? undefined : await serveHttp({ port, metrics, unhealthy, unready });
  // a module that waits for something that never settles is detected by nothing else keeping the process alive
  http?.hold(false);
  await using handler = await openHandler(flags, log, signals.stopping, (why) => {
    state.shortage = why;
    logShortage(log, why);
  });
  http?.hold(true);
  state.reason = 'not registered in Redis yet';
  const { handle, begin, bytesOnly } = handler;
  const own = { handler: handle, begin, bytesOnly, log, metrics, health, ...readinessEvents(state, log) };
  const hurry = hurryAfter(flags.grace, signals, log);
  using _idle = giveMemoryBack(() => ({ tasks: metrics.busySlots(), computedMs: computedMs() }));
  await runWorker({ ...settings, ...own }, signals.stopping, hurry).catch(rethrow(log));
  log.info('stopped');
}

function logShortage(log: Logger, why: string | undefined): void {
  if (why === undefined) log.info({ event: LogEvent.StartsSucceed }, 'programs can be started again');
  else log.error({ event: LogEvent.StartsFail, reason: why }, 'no program can be started; tasks wait');
}

function readinessEvents(state: Readiness, log: Logger): Pick<WorkerOptions, 'onReady' | 'onRefused'> {
  return {
    onReady: () => {
      const sinceStartMs = Math.round(performance.now());
      if (state.reason !== undefined) log.info({ event: LogEvent.Ready, version, sinceStartMs }, 'ready');
      state.reason = undefined;
    },
    onRefused: (why) => (state.reason = why),
  };
}

/** Processor time that this process has used, ms. */
function computedMs(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1_000;
}

/** Aborts when the worker was told to stop and its grace period is over, or when it is told to hurry. */
function hurryAfter(graceMs: number, signals: ReturnType<typeof onSignals>, log: Logger): AbortSignal {
  const hurry = new AbortController();
  const hurryUp = (): void => hurry.abort();
  signals.hurry.addEventListener('abort', hurryUp, { once: true });
  signals.stopping.addEventListener('abort', () => {
    log.info({ event: LogEvent.Stopping, graceMs }, 'stopping: finishing running tasks');
    void waitOutGrace(graceMs, systemClock, computedMs).then(hurryUp);
  });
  return hurry.signal;
}

// no await up here, so that the worker's image can have it as a function (process/launch.ts);
// a handler that never ends must not keep the process of a worker that has left
void runProgram(WORKER_PROGRAM, main).finally(() => process.exit());

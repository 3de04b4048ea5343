#!/usr/bin/env node
/** `millrace-worker`: takes tasks from a queue and runs them with a module's function or with a command. */
import { hostname } from 'node:os';
import { serveHttp } from '../runtime/http.ts';
import { onSignals } from '../runtime/lifecycle.ts';
import { createLog } from '../runtime/log.ts';
import { runProgram, UsageError } from '../runtime/program.ts';
import { version } from '../runtime/version.ts';
import { MAX_RESULT_BYTES } from './encode.ts';
import { parseFlags, settingsOf, type WorkerFlags } from './flags.ts';
import type { OpenHandler } from './handler.ts';
import { openCommand, type CommandOptions } from './handlers/command.ts';
import { openLines } from './handlers/lines.ts';
import { openModule } from './handlers/module.ts';
import { createWorkerMetrics } from './metrics.ts';
import { defaultWorkerId, runWorker } from './worker.ts';

async function openHandler(flags: WorkerFlags, log: CommandOptions['log']): Promise<OpenHandler> {
  if (flags.module && flags.command)
    throw new UsageError('both --module and --command are given: choose one');
  if (flags.module) return openModule(flags.module, process.cwd());
  if (!flags.command)
    throw new UsageError('nothing to run tasks with: give --module ./tasks.ts or --command ./compute');
  const maxOutputBytes = flags.resultMaxSize;
  const program = { command: flags.command, cwd: process.cwd(), env: process.env, log, maxOutputBytes };
  if (!flags.keepRunning) return openCommand(program);
  return openLines({ ...program, concurrency: flags.concurrency, maxOutputBytes: lineLimit(maxOutputBytes) });
}

/** How long a line may be that holds a result of so many bytes: JSON writes some bytes as six. A report fits anyway. */
function lineLimit(resultBytes: number): number {
  return Math.min(MAX_RESULT_BYTES, Math.max(6 * resultBytes, 1 << 20));
}

async function main(): Promise<void> {
  // in a pod the host's name is the pod's, by which the controller knows it
  const inPod = process.env['KUBERNETES_SERVICE_HOST'] !== undefined;
  const flags = parseFlags(process.argv, inPod ? hostname() : defaultWorkerId());
  const settings = settingsOf(flags);
  const log = createLog('millrace-worker', flags.logLevel);
  using signals = onSignals();
  await using handler = await openHandler(flags, (line, source) =>
    log.info({ ...source, line }, 'stderr of the command'),
  );
  const metrics = createWorkerMetrics();
  let ready = false;
  await using _http =
    flags.httpPort === undefined
      ? undefined
      : await serveHttp({
          port: flags.httpPort,
          metrics,
          unhealthy: () => undefined,
          unready: () => (ready ? undefined : 'not registered in Redis yet'),
        });
  const hurry = new AbortController();
  const hurryUp = (): void => hurry.abort();
  signals.hurry.addEventListener('abort', hurryUp, { once: true });
  signals.stopping.addEventListener('abort', () => {
    log.info({ graceMs: flags.grace }, 'stopping: finishing what runs');
    setTimeout(hurryUp, flags.grace).unref();
  });
  await runWorker(
    {
      ...settings,
      handler: handler.handle,
      log,
      metrics,
      onReady: () => {
        if (!ready)
          log.info(
            {
              version,
              sinceStartMs: Math.round(performance.now()),
            },
            'ready',
          );
        ready = true;
      },
    },
    signals.stopping,
    hurry.signal,
  );
  log.info('stopped');
}

await runProgram('millrace-worker', main);
// a handler that never ends must not keep a worker that has left
process.exit();

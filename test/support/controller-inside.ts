/** The controller, in this process, with the API server as a test makes it look. */
import { pino } from 'pino';
import { createControllerMetrics } from '../../controller/observe/metrics.ts';
import { runController } from '../../controller/reconcile/controller.ts';
import type { KubeApi } from '../../kube/api.ts';
import { systemClock } from '../../runtime/clock.ts';

/** Leads until it is disposed. `namespaces`: empty for all. */
export function startControllerInside(api: KubeApi, namespaces: readonly string[]): AsyncDisposable {
  const ended = new AbortController();
  const numbers = { workqueueDepth: () => 0, redisServers: () => 0, watches: () => ({}) };
  const running = runController(
    {
      api,
      namespaces,
      instance: 'test',
      metrics: createControllerMetrics(numbers),
      publish: () => undefined,
      clock: systemClock,
      log: pino({ level: 'silent' }),
    },
    ended.signal,
  );
  running.catch(() => undefined);
  return {
    [Symbol.asyncDispose]: async () => {
      ended.abort();
      await running.catch(() => undefined);
    },
  };
}

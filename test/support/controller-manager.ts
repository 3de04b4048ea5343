/** Some of Kubernetes' own controllers, real ones, on an API server of a test. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Endpoint } from './apiserver.ts';
import { kill, run, startGuard } from './children.ts';
import { findTools } from './tools.ts';

/**
 * Runs these controllers, `deployment-controller` for example, each as the service account that it has in a cluster; those of
 * HorizontalPodAutoscalers look once a second. It goes on until it is disposed.
 */
export async function startControllerManager(
  { kubeconfig }: Endpoint,
  controllers: readonly string[],
): Promise<AsyncDisposable> {
  const tools = await findTools(['kube-controller-manager']);
  const dir = await mkdtemp(join(tmpdir(), 'millrace-controller-manager-'));
  const child = run(join(tools, 'kube-controller-manager'), dir, [
    `--kubeconfig=${kubeconfig}`,
    `--controllers=${controllers.join(',')}`,
    '--leader-elect=false',
    '--use-service-account-credentials=true',
    '--horizontal-pod-autoscaler-sync-period=1s',
    // serves nothing
    '--secure-port=0',
  ]);
  const guard = startGuard([child], dir);
  return {
    [Symbol.asyncDispose]: async () => {
      await kill(child);
      await rm(dir, { recursive: true, force: true, maxRetries: 3 });
      await kill(guard);
    },
  };
}

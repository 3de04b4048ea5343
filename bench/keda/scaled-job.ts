/**
 * KEDA's rule for Jobs, on a cluster made with kind: its definition of a ScaledJob, and its own code for them
 * (test/kube/keda/jobs/main.go) in a process on this machine.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { Cluster } from '../../test/kind/cluster.ts';
import { readKedaFile } from '../../test/support/keda.ts';

export interface ScaledJobRule {
  readonly cluster: Cluster;
  readonly namespace: string;
  readonly name: string;
  /** Of KEDA's strategies; `undefined`: its default. */
  readonly strategy: string | undefined;
  readonly maxReplicas: number;
  /** HOST:PORT, for this machine. */
  readonly redis: string;
  readonly list: string;
  /** PodSpec. */
  readonly pod: object;
}

/** KEDA's definition of ScaledJobs, until it is disposed of; they go with it. */
export async function defineScaledJobs(cluster: Cluster): Promise<AsyncDisposable> {
  await cluster.applyYaml(await readKedaFile('config/crd/bases/keda.sh_scaledjobs.yaml'));
  const definition = 'crd/scaledjobs.keda.sh';
  await cluster.kubectl(['wait', '--for', 'condition=Established', '--timeout', '60s', definition]);
  return {
    [Symbol.asyncDispose]: async () =>
      void (await cluster.kubectl(['delete', definition, '--ignore-not-found'])),
  };
}

/** Creates Jobs by that rule until it is disposed of. `program`: see `prepareKedaJobs`. */
export async function startScaledJob(program: string, rule: ScaledJobRule): Promise<AsyncDisposable> {
  const { cluster, namespace, name } = rule;
  await cluster.applyYaml(JSON.stringify(scaledJob(rule)));
  const child = spawn(program, [cluster.place.kubeconfig, namespace, name], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const closed = once(child, 'close');
  let logged = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (logged = (logged + text).slice(-4_000)));
  const begun = once(createInterface({ input: child.stdout }), 'line');
  await Promise.race([begun, closed]);
  if (child.exitCode !== null) throw new Error(`KEDA's code for ${name} ended:\n${logged}`);
  return {
    [Symbol.asyncDispose]: async () => {
      child.kill('SIGKILL');
      await closed;
    },
  };
}

/** What is left out has KEDA's defaults: a check each 30 s above all. */
function scaledJob({ namespace, name, strategy, maxReplicas, redis, list, pod }: ScaledJobRule): object {
  return {
    apiVersion: 'keda.sh/v1alpha1',
    kind: 'ScaledJob',
    metadata: { namespace, name },
    spec: {
      jobTargetRef: { template: { spec: { ...pod, restartPolicy: 'Never' } } },
      maxReplicaCount: maxReplicas,
      ...(strategy !== undefined && { scalingStrategy: { strategy } }),
      triggers: [{ type: 'redis', metadata: { address: redis, listName: list, listLength: '1' } }],
    },
  };
}

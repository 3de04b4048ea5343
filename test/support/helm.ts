/** Helm, as users run it. */
import { execFile } from 'node:child_process';
import { mkdtempDisposable } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { Endpoint } from './apiserver.ts';
import { findTools } from './tools.ts';

const run = promisify(execFile);
const root = join(import.meta.dirname, '../..');

export const CHART = join(root, 'charts/millrace');

/** Path of the program. */
export async function findHelm(): Promise<string> {
  return join(await findTools(['helm']), 'helm');
}

/** Installs the chart as a release into a namespace, which it creates. `set` are values as `a=b`. */
export async function installChart(
  { kubeconfig }: Endpoint,
  release: { readonly name: string; readonly namespace: string },
  ...set: string[]
): Promise<void> {
  await using home = await mkdtempDisposable(join(tmpdir(), 'millrace-helm-'));
  const env = { ...process.env, KUBECONFIG: kubeconfig, HELM_CACHE_HOME: home.path };
  const where = ['--namespace', release.namespace, '--create-namespace'];
  const values = set.flatMap((value) => ['--set', value]);
  await run(await findHelm(), ['install', release.name, CHART, ...where, ...values], { env });
}

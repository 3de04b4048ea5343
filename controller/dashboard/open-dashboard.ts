/** The dashboard that the controller's flags ask for. */
import type { Rights } from '../../kube/rights.ts';
import type { ControllerFlags } from '../process/flags/flags.ts';
import { createDashboard, type Dashboard, type DashboardOptions } from './dashboard.ts';
import { openGate, rightsGate, type Gate } from './gate.ts';
import type { Strikes } from './strikes.ts';
import { tokenFile } from './token.ts';

export interface OpenDashboardOptions extends Pick<DashboardOptions, 'version' | 'leader' | 'log' | 'now'> {
  readonly rights: Rights;
  readonly strikes: Strikes;
  /** The pod's address; `undefined` outside of a cluster. */
  readonly podIp: string | undefined;
}

/** Resolves to `undefined` if it is not enabled. Rejects if the token cannot be read. */
export async function openDashboard(
  flags: ControllerFlags,
  { rights, strikes, podIp, ...options }: OpenDashboardOptions,
): Promise<Dashboard | undefined> {
  if (!flags.dashboard) return undefined;
  return createDashboard({
    ...options,
    host: 'controller',
    showTasks: flags.dashboardShowTasks,
    gate: await gateOf(flags, rights, strikes),
    hostnames: hostnames(podIp, flags.dashboardHosts),
  });
}

async function gateOf(flags: ControllerFlags, rights: Rights, strikes: Strikes): Promise<Gate> {
  if (flags.dashboardTokenFile !== undefined)
    return openGate(await tokenFile(flags.dashboardTokenFile), strikes);
  return flags.dashboardAuth === 'none' ? openGate(undefined, strikes) : rightsGate(rights, strikes);
}

/** Host names under which browsers may reach the dashboard: this machine, as through a port-forward, the pod, and those given. */
function hostnames(podIp: string | undefined, given: readonly string[]): string[] {
  const pod = podIp === undefined ? [] : [podIp.includes(':') ? `[${podIp}]` : podIp];
  return ['localhost', '127.0.0.1', '[::1]', ...pod, ...given.map((name) => name.toLowerCase())];
}

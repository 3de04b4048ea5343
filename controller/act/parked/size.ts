/**
 * The two sizes of a pod whose pool parks replicas, and which of them a pod has. Pure.
 *
 * The template keeps the full size, so a new pod works at once wherever it runs, and nothing depends on a resize. What the worker's
 * container requests now is in the pod's spec: no other record says who is parked. Only requests change; limits stay, so that a
 * task that a parked worker takes is not throttled. The pod's quality-of-service class stays, too: the API server refuses a resize
 * that changes it.
 */
import { isLess, parseQuantity } from '../../../kube/quantity.ts';
import type { Pod, PodTemplateSpec } from '../../../kube/wire.ts';
import type { ParkedSpec, WorkerPool } from '../../../kube/workerpool.ts';

type PodSpec = NonNullable<PodTemplateSpec['spec']>;
type Container = PodSpec['containers'][number];
type Requests = Readonly<Record<string, string>>;

export interface ParkedSizes {
  /** Pods to keep in all; 0 if the pool no longer parks any. */
  readonly replicas: number;
  readonly container: string;
  /** What the container requests at work; both sizes name the same resources. */
  readonly full: Requests;
  /** `undefined` if the pool no longer parks any. */
  readonly parked: Requests | undefined;
}

export interface ParkedPods {
  readonly sizes: ParkedSizes;
  /** Why pods of this template cannot be parked, human-readable. */
  readonly unfit: string | undefined;
}

/** `full` and `parked`: by what the pod requests. `stuck`: it is to have its full size, and does not get it. */
export type PodSize = 'full' | 'parked' | 'stuck';

/** `undefined` for a pool that parks no replicas and has none left of before. */
export function parkedPodsOf({ spec, status }: Pick<WorkerPool, 'spec' | 'status'>): ParkedPods | undefined {
  const { parked, template, source } = spec;
  if (!template?.spec || source || (!parked && !status?.parkedReplicas)) return undefined;
  const name = spec.workerContainer ?? template.spec.containers[0]?.name;
  const container = template.spec.containers.find((one) => one.name === name);
  if (!container) return undefined;
  const cpu = requestOf(container, 'cpu');
  const memory = requestOf(container, 'memory');
  const full = { ...(cpu !== undefined && { cpu }), ...(memory !== undefined && { memory }) };
  const unfit = parked && unfitnessOf(template.spec, container, parked);
  if (!parked || unfit !== undefined)
    return { sizes: { replicas: 0, container: container.name, full, parked: undefined }, unfit };
  const small = parked.memory ?? memory;
  const size = { cpu: parked.cpu, ...(small !== undefined && { memory: small }) };
  return {
    sizes: { replicas: parked.replicas, container: container.name, full, parked: size },
    unfit: undefined,
  };
}

function unfitnessOf(pod: PodSpec, container: Container, parked: ParkedSpec): string | undefined {
  const who = `container "${container.name}" of the template`;
  const cpu = requestOf(container, 'cpu');
  if (cpu === undefined)
    return `${who} requests no CPU, so that there is nothing to give back while it is parked: set resources.requests.cpu`;
  if (!isLess(amount(parked.cpu), amount(cpu)))
    return `parked.cpu ${parked.cpu} is not less than what ${who} requests, ${cpu}: lower parked.cpu`;
  const memory = requestOf(container, 'memory');
  if (parked.memory !== undefined && (memory === undefined || isLess(amount(memory), amount(parked.memory))))
    return `parked.memory ${parked.memory} is more than what ${who} requests, ${memory ?? 'nothing'}: lower or remove parked.memory`;
  if (pod.os?.name === 'windows' || pod.nodeSelector?.['kubernetes.io/os'] === 'windows')
    return 'pods on Windows cannot be resized: remove parked';
  if (pod.resources !== undefined)
    return "the template's spec.resources sets resources of the whole pod: set those of its containers instead";
  const restarting = container.resizePolicy?.find(
    ({ resourceName, restartPolicy }) =>
      restartPolicy !== 'NotRequired' &&
      (resourceName === 'cpu' || (resourceName === 'memory' && parked.memory !== undefined)),
  );
  if (restarting)
    return `${who} would be restarted by each resize: remove the resizePolicy of ${restarting.resourceName}`;
  if ([...pod.containers, ...(pod.initContainers ?? [])].every(isGuaranteed))
    return `each container of the template requests exactly its limits, so that the pods are of the class Guaranteed, which a resize cannot change: remove the CPU limit of ${who}, or raise it above the request`;
  return undefined;
}

function isGuaranteed(container: Container): boolean {
  return ['cpu', 'memory'].every((resource) => {
    const limit = container.resources?.limits?.[resource];
    return limit !== undefined && amount(requestOf(container, resource)) === amount(limit);
  });
}

/** Without a request, the API server takes the limit. */
function requestOf({ resources }: Container, resource: string): string | undefined {
  // a user may write a number
  const found: string | number | undefined = resources?.requests?.[resource] ?? resources?.limits?.[resource];
  return found?.toString();
}

/** Not a number for what the API server would refuse: it says so when the Deployment is applied. */
function amount(text: string | undefined): number {
  return parseQuantity(text) ?? Number.NaN;
}

/**
 * By what the pod requests. While a rollout replaces pods of another template, only those with exactly the parked size count as
 * parked: what the others should request is not known.
 */
export function requestedSize(
  pod: Pod,
  { container, full, parked }: ParkedSizes,
  rollingOut: boolean,
): 'full' | 'parked' {
  const requests = pod.spec?.containers.find(({ name }) => name === container)?.resources?.requests;
  const is = (compare: (now: number, size: number) => boolean, size: Requests) => (resource: string) =>
    compare(amount(requests?.[resource]), amount(size[resource]));
  const names = Object.keys(full);
  if (rollingOut)
    return parked &&
      names.every(is((now, size) => !isLess(now, size) && !isLess(size, now) && now >= 0, parked))
      ? 'parked'
      : 'full';
  return names.some(is(isLess, full)) ? 'parked' : 'full';
}

/** Why a resize that was requested is not in force, as the kubelet reports; `undefined` if there is none. */
export function pendingResize({ status }: Pod): string | undefined {
  const found = status?.conditions?.find(
    (one) =>
      one.status === 'True' &&
      (one.type === 'PodResizePending' || (one.type === 'PodResizeInProgress' && one.reason === 'Error')),
  );
  return found && `${found.reason ?? found.type}: ${found.message ?? 'the node gives no reason'}`;
}

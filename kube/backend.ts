/**
 * Which pod answers for a host name of the cluster. A name is looked up as a pod of that namespace would resolve it:
 * `redis`, `redis.shop`, `redis-0.redis`, `redis.shop.svc`, `redis-0.redis.shop.svc.cluster.local`, or the address of a Service or a
 * pod. What is none of these is a host outside of the cluster.
 */
import { isIP } from 'node:net';
import { KubeError } from './errors.ts';
import type { PodPort } from './port-forward.ts';
import { readAll, readObject } from './read.ts';
import { ENDPOINT_SLICES, PODS, SERVICES, type ObjectRef, type Resource } from './resources.ts';
import type { CallOptions, Transport } from './transport.ts';
import type { EndpointSlice, KubeObject, Service } from './wire.ts';

/** The Service that a host name may mean, and the pod behind it if the name includes one. */
export interface ServiceName extends ObjectRef {
  readonly pod?: string;
  /** Unambiguous: the name ends in `.svc`, or has no dot. */
  readonly certain: boolean;
}

/** Readings of a host name, the likeliest first; none for what cannot be a Service's. */
export function serviceNames(host: string, namespace: string): ServiceName[] {
  const labels = host.toLowerCase().replace(/\.$/, '').split('.');
  const svc = labels.indexOf('svc');
  const certain = svc > 0 && labels.length > 1;
  const [first = '', second = '', third = ''] = certain ? labels.slice(0, svc) : labels;
  if (first === '' || first === 'localhost' || isIP(host) !== 0) return [];
  switch (certain ? svc : labels.length) {
    case 1:
      return [{ namespace, name: first, certain: true }];
    case 2: {
      const service = { namespace: second, name: first, certain };
      // the pods of a headless Service are found by `redis-0.redis` in their own namespace
      return certain ? [service] : [service, { namespace, name: second, pod: first, certain }];
    }
    case 3:
      return [{ namespace: third, name: second, pod: first, certain }];
    default:
      return [];
  }
}

/**
 * The pod and the port on it that a client of `host:port` in `namespace` would reach; `undefined` when the host is not of this
 * cluster. Throws Error in one line for a Service that is not there, or has no pod that is ready.
 */
export async function findBackend(
  transport: Transport,
  host: string,
  port: number,
  namespace: string,
  options?: CallOptions,
): Promise<PodPort | { readonly host: string } | undefined> {
  if (isIP(host) !== 0) return await behindIp(transport, host, port, namespace, options);
  for (const name of serviceNames(host, namespace)) {
    // what looks like a namespace may be a domain, in which no one may read Services
    const service = await readObject(transport, SERVICES, name, options).catch((error: unknown) => {
      if (name.certain) throw error;
      return undefined;
    });
    if (service) return await behind(transport, service, port, name.pod, options);
    if (name.certain && host.includes('.'))
      throw new Error(`there is no Service "${name.name}" in namespace "${name.namespace}" for ${host}`);
  }
  return undefined;
}

/** An ambiguous address in a namespace that may not be searched counts as one outside the cluster. */
async function behindIp(
  transport: Transport,
  ip: string,
  port: number,
  namespace: string,
  options?: CallOptions,
): Promise<PodPort | { readonly host: string } | undefined> {
  if (ip.startsWith('127.') || ip === '::1') return undefined;
  const all = <T extends KubeObject>(resource: Resource<T>): Promise<T[]> =>
    readAll(transport, resource, { ...options, namespace }).catch((error: unknown) => {
      if (error instanceof KubeError && error.status === 403) return [];
      throw error;
    });
  const pod = (await all(PODS)).find(({ status }) => status?.podIP === ip);
  if (pod) return { namespace, pod: pod.metadata.name, port };
  const service = (await all(SERVICES)).find(({ spec }) => spec?.clusterIPs?.includes(ip));
  return service && (await behind(transport, service, port, undefined, options));
}

async function behind(
  transport: Transport,
  { metadata, spec }: Service,
  port: number,
  pod: string | undefined,
  options?: CallOptions,
): Promise<PodPort | { readonly host: string }> {
  const { name, namespace = '' } = metadata;
  if (spec?.type === 'ExternalName' && spec.externalName) return { host: spec.externalName };
  const labelSelector = `kubernetes.io/service-name=${name}`;
  const slices = await readAll(transport, ENDPOINT_SLICES, { ...options, namespace, labelSelector });
  const portName = spec?.ports?.find((one) => one.port === port)?.name ?? '';
  const headless = spec?.clusterIP === 'None';
  const found = slices.flatMap((slice) => readyPods(slice, portName, headless ? port : undefined));
  const chosen = found.find((one) => pod === undefined || one.pod === pod || one.hostname === pod);
  if (!chosen)
    throw new Error(
      `no ready pod ${pod === undefined ? '' : `"${pod}" `}is behind port ${port} of Service "${name}" in namespace "${namespace}"`,
    );
  return { namespace, pod: chosen.pod, port: chosen.port };
}

interface ReadyPod {
  readonly pod: string;
  readonly hostname: string | undefined;
  readonly port: number;
}

/** Clients of a headless Service connect to the pod's port, whatever ports the Service lists. */
function readyPods(
  { endpoints, ports }: EndpointSlice,
  portName: string,
  direct: number | undefined,
): ReadyPod[] {
  const port = direct ?? ports?.find(({ name }) => (name ?? '') === portName)?.port;
  if (port === undefined) return [];
  return (endpoints ?? []).flatMap(({ conditions, targetRef, hostname }) =>
    conditions?.ready === false || targetRef?.kind !== 'Pod' || !targetRef.name
      ? []
      : [{ pod: targetRef.name, hostname, port }],
  );
}

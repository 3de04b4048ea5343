/**
 * What the pods of a pool get where their template is silent: what Kubernetes' restricted level asks of a pod, and no token of
 * the API server, which a worker has no use for. Whatever the template says stays, field by field. Pure.
 */
import type { PodTemplateSpec } from '../../kube/wire.ts';

type PodSpec = NonNullable<PodTemplateSpec['spec']>;
type Container = PodSpec['containers'][number];
type SecurityContext = NonNullable<Container['securityContext']>;

/** With any of these, the API server refuses `allowPrivilegeEscalation: false`. */
const ESCALATING = new Set(['SYS_ADMIN', 'CAP_SYS_ADMIN']);

export function withPodDefaults(spec: PodSpec): PodSpec {
  const { serviceAccountName, serviceAccount, securityContext, initContainers } = spec;
  const ownAccount = Boolean(serviceAccountName ?? serviceAccount);
  const tokenless = { ...(ownAccount ? {} : { automountServiceAccountToken: false }), ...spec };
  // Windows knows none of the rest, and the API server refuses it there
  if (spec.os?.name === 'windows' || spec.nodeSelector?.['kubernetes.io/os'] === 'windows') return tokenless;
  return {
    ...tokenless,
    securityContext: {
      seccompProfile: { type: 'RuntimeDefault' },
      ...(securityContext?.runAsUser === 0 ? {} : { runAsNonRoot: true }),
      ...securityContext,
    },
    ...(initContainers ? { initContainers: initContainers.map(restricted) } : {}),
    containers: spec.containers.map(restricted),
  };
}

function restricted(container: Container): Container {
  const own: SecurityContext = container.securityContext ?? {};
  const { privileged, runAsUser, capabilities } = own;
  // who asks for root says so; the pod's own default must not stand against it
  const root = privileged || runAsUser === 0 ? { runAsNonRoot: false } : {};
  if (privileged) return { ...container, securityContext: { ...root, ...own } };
  const escalates = capabilities?.add?.some((capability) => ESCALATING.has(capability));
  return {
    ...container,
    securityContext: {
      ...root,
      ...(escalates ? {} : { allowPrivilegeEscalation: false }),
      ...own,
      capabilities: { drop: ['ALL'], ...capabilities },
    },
  };
}

/** What to do about what a kubelet says of a container that cannot start; empty where it is not about these defaults. */
export function adviceOn(message: string): string {
  return message.includes('runAsNonRoot')
    ? ": set securityContext.runAsUser in the template to a user's number, or let them be with spec.podDefaults: None"
    : '';
}

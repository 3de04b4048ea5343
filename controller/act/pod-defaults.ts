/**
 * Defaults for fields that a pool's template does not set: those that Kubernetes' restricted level requires, and no API server
 * token, which a worker does not need. Every field that the template sets is kept. Pure.
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
  // the rest does not apply to Windows, where the API server refuses it
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
  // a container that runs as root must not be stopped by the pod's default
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

/** Advice on a kubelet's message about a container that cannot start; empty if these defaults are not the cause. */
export function adviceOn(message: string): string {
  return message.includes('runAsNonRoot')
    ? ': set securityContext.runAsUser in the template to a numeric user id, or disable these defaults with spec.podDefaults: None'
    : '';
}

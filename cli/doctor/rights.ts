/** Who may do what in a cluster, by the API server's own reviews. */
import type { Transport } from '../../kube/transport.ts';
import { GROUP, PLURAL } from '../../kube/workerpool.ts';

export interface Right {
  readonly verb: string;
  readonly group: string;
  /** With a subresource behind a slash. */
  readonly resource: string;
}

const rights = (group: string, resource: string, ...verbs: string[]): Right[] =>
  verbs.map((verb) => ({ verb, group, resource }));

/** What the chart gives the controller: see charts/millrace/templates/_helpers.tpl. */
export const ofController: readonly Right[] = [
  ...rights(GROUP, PLURAL, 'list', 'watch', 'patch'),
  ...rights(GROUP, `${PLURAL}/status`, 'patch'),
  ...rights(GROUP, `${PLURAL}/finalizers`, 'update'),
  ...rights('apps', 'deployments', 'get', 'list', 'watch', 'create', 'patch', 'delete'),
  ...rights('apps', 'deployments/scale', 'patch'),
  ...rights('batch', 'jobs', 'get', 'list', 'watch', 'create', 'patch', 'delete'),
  ...rights('', 'pods', 'list', 'watch', 'patch'),
  ...rights('', 'pods/resize', 'patch'),
  ...rights('', 'secrets', 'get'),
  ...rights('events.k8s.io', 'events', 'create', 'patch'),
];

/** What this program needs of its user to see pools and to reach their Redis. */
export const ofYou: readonly Right[] = [
  ...rights(GROUP, PLURAL, 'get', 'list'),
  ...rights('', 'secrets', 'get'),
  ...rights('', 'services', 'get'),
  ...rights('discovery.k8s.io', 'endpointslices', 'list'),
  ...rights('', 'pods/portforward', 'get', 'create'),
];

interface Review {
  readonly status?: { readonly allowed: boolean };
}

/** Those of `wanted` that are refused, in words; of `user`, or of whoever asks. Rejects with KubeError. */
export async function refusedTo(
  transport: Transport,
  user: string | undefined,
  wanted: readonly Right[],
  namespace: string | undefined,
): Promise<string[]> {
  const kind = user === undefined ? 'SelfSubjectAccessReview' : 'SubjectAccessReview';
  const asked = wanted.map(async ({ verb, group, resource: full }) => {
    const [resource = '', subresource = ''] = full.split('/');
    const resourceAttributes = { namespace: namespace ?? '', verb, group, resource, subresource };
    const body = {
      apiVersion: 'authorization.k8s.io/v1',
      kind,
      spec: { ...(user === undefined ? {} : { user, groups: groupsOf(user) }), resourceAttributes },
    };
    const path = `/apis/authorization.k8s.io/v1/${kind.toLowerCase()}s`;
    const { status } = await transport.call<Review>({ method: 'POST', path, body, what: `create ${kind}` });
    return status?.allowed ? [] : [`${verb} ${full}${namespace ? ` in ${namespace}` : ''}`];
  });
  return (await Promise.all(asked)).flat();
}

/** Service accounts belong to groups that rights may be given to. */
function groupsOf(user: string): string[] {
  const [, , namespace = ''] = user.split(':');
  return ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated'];
}

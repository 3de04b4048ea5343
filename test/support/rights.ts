/** Rights of users. An API server goes by them some time after their roles and bindings were stored. */
import { expect } from 'vitest';
import type { Transport } from '../../kube/transport.ts';
import { eventually } from './eventually.ts';

export interface Right {
  readonly verb: string;
  readonly namespace: string;
  readonly group?: string;
  readonly resource: string;
  readonly subresource?: string;
  readonly name?: string;
}

/** Whether the API server lets `user` do this. */
async function mayDo(transport: Transport, user: string, right: Right): Promise<boolean> {
  const review = await transport.call<{ status: { allowed: boolean } }>({
    method: 'POST',
    path: '/apis/authorization.k8s.io/v1/subjectaccessreviews',
    body: {
      apiVersion: 'authorization.k8s.io/v1',
      kind: 'SubjectAccessReview',
      spec: { user, resourceAttributes: right },
    },
    what: `ask for the rights of ${user}`,
  });
  return review.status.allowed;
}

/** Resolves when the API server goes by what was stored: `user` may do this, or may not any more. */
export const rightIs = (transport: Transport, user: string, right: Right, may: boolean): Promise<void> =>
  eventually(async () => expect(await mayDo(transport, user, right)).toBe(may));

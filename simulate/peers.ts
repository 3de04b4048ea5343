/** Whom a policy can be compared with, by the names that the command line takes. */
export const peers = ['keda', 'hpa', 'knative', 'static', 'future'] as const;
export type Peer = (typeof peers)[number];

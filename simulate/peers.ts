/** The autoscalers that a policy can be compared with, by their names on the command line. */
export const peers = ['keda', 'hpa', 'knative', 'static', 'future'] as const;
export type Peer = (typeof peers)[number];

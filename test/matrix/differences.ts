/** Failures of test/redis on a server for a reason that is the server's, which docs/servers.md tells. */
import type { MatrixServer } from './servers.ts';

export interface Difference {
  readonly on: (server: MatrixServer) => boolean;
  /** Matches the test's file and full name; each of them is to fail. */
  readonly tests?: RegExp;
  /** Matches what a failed test threw. */
  readonly failure?: RegExp;
  readonly why: string;
}

export const differences: readonly Difference[] = [
  { on: ({ tls }) => !tls, failure: /tls-port|TLS/, why: 'this build has no TLS' },
];

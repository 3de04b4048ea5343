/** Failures of test/redis on a server for a reason that is the server's, which docs/servers.md tells. */
import type { MatrixServer } from './servers.ts';

export interface Difference {
  readonly on: (server: MatrixServer) => boolean;
  /** Matches the test's file and full name; each of them is to fail, unless it does so only `sometimes`. */
  readonly tests?: RegExp;
  readonly sometimes?: true;
  /** Matches what a failed test threw. */
  readonly failure?: RegExp;
  readonly why: string;
}

export const differences: readonly Difference[] = [
  {
    on: ({ name }) => name.startsWith('redis-8'),
    tests: /refused-turns.* no memory/,
    sometimes: true,
    why: 'the memory of scripts counts towards `maxmemory`: with too little of it, what is small waits beside what is large',
  },
  {
    on: ({ name }) => name === 'redis-8.6',
    tests: /refused-turns.* an argument over its limit/,
    sometimes: true,
    why: 'an argument over `proto-max-bulk-len` may be neither answered nor the connection closed: the worker finds the result that is too large by time-outs of 10 s',
  },
  {
    on: ({ name }) => name === 'redis-8.6',
    tests: /credentials.* new credentials are refused/,
    sometimes: true,
    why: 'now and then replies of other connections are not sent when one is refused its password: they are replaced after 10 s',
  },
  {
    on: ({ name }) => name === 'redis-6.2',
    failure: /Unknown subcommand|Unknown command or category name in ACL|redis-server ended|to be 'listpack'/,
    why: 'some tests use commands or settings of 7.0 themselves',
  },
  {
    on: ({ name }) => name === 'redis-6.2',
    tests: /cluster-(sampler|worker)\.test/,
    why: 'clusters are not tested: the tests set them up by commands of 7.0',
  },
  {
    on: ({ name }) => name === 'redis-6.2',
    tests: /takes no writes for a while|MISCONF: the disk|without memory a turn with results/,
    why: 'a server that refuses writes (`min-replicas-to-write`, a failed snapshot, no memory) does not refuse those of scripts, so that turns go on',
  },
  { on: ({ tls }) => !tls, failure: /tls-port|TLS/, why: 'this build has no TLS' },
];

/**
 * Ten projects, run one after the other, so that a slow cluster never disturbs what is timed in milliseconds:
 * `unit` (pure), `redis` (a real server each), `newest-redis` and `newest-valkey` (a part of them on the newest servers),
 * `programs` (what is started from a shell), `sources` (queue libraries with their own workers), `kube` (a real API server),
 * `browser` (the dashboard in Chromium), `chaos` (a short run of `npm run chaos`), `kind` (a real cluster). The first two
 * are the fast half.
 *
 * The limits are for what hangs, not for what is slow: a machine that does much else may take ten times as long. They are
 * larger than any wait inside (test/support/eventually.ts), whose error tells more.
 */
import './runtime/node-version.cjs';
import { defineConfig } from 'vitest/config';

const project = (name: string, order: number, more: object = {}): object => ({
  test: {
    name,
    include: [`test/${name}/**/*.test.ts`],
    sequence: { groupOrder: order },
    restoreMocks: true,
    expect: { poll: { timeout: 60_000 } },
    ...more,
  },
});

/** Those of test/redis that depend most on the server, and need no TLS, which the builds from PyPI lack. */
const SERVER_TESTS =
  '{adopt,cancel,clock,cluster-*,dead-letters,drain,eviction,failover,queue,reap,result*,sampler,sampler-source,' +
  'rest,server-troubles,suspects,turn,turn-bytes,turn-fates,turn-trouble,versions,wake,watch,worker-adoption,worker-failures,worker-loop}';

/** Tests of test/redis on another server than the system's. */
const newest = (name: 'redis' | 'valkey', order: number): object =>
  project(`newest-${name}`, order, {
    include: [`test/redis/${SERVER_TESTS}.test.ts`, 'test/programs/worker-rotation.test.ts'],
    globalSetup: ['test/matrix/newest.ts'],
    setupFiles: [`test/matrix/newest-${name}.ts`],
    testTimeout: 300_000,
    hookTimeout: 300_000,
    maxWorkers: 5,
  });

export default defineConfig({
  test: {
    reporters: process.env['CI']
      ? ['default', ['json', { outputFile: 'out/test-report.json' }]]
      : ['default'],
    projects: [
      project('unit', 1, { testTimeout: 300_000, hookTimeout: 300_000, maxWorkers: 2 }),
      project('redis', 2, { testTimeout: 300_000, hookTimeout: 300_000, maxWorkers: 5 }),
      newest('redis', 3),
      newest('valkey', 4),
      project('programs', 5, { testTimeout: 300_000, hookTimeout: 300_000, maxWorkers: 2 }),
      project('sources', 6, {
        globalSetup: ['test/sources/prepare.ts'],
        testTimeout: 300_000,
        hookTimeout: 600_000,
        maxWorkers: 2,
        // each has its own server, and mostly waits for processes to start
        maxConcurrency: 2,
      }),
      project('kube', 7, {
        globalSetup: ['test/support/tools.ts', 'test/sources/prepare.ts'],
        testTimeout: 400_000,
        hookTimeout: 600_000,
        maxWorkers: 3,
      }),
      project('browser', 8, { testTimeout: 600_000, hookTimeout: 600_000, fileParallelism: false }),
      project('chaos', 9, { testTimeout: 1_200_000, hookTimeout: 600_000, fileParallelism: false }),
      project('kind', 10, {
        globalSetup: ['test/kind/cluster.ts', 'test/support/kind-images.ts'],
        testTimeout: 600_000,
        hookTimeout: 1_800_000,
        fileParallelism: false,
      }),
    ],
  },
});

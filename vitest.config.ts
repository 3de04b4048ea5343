/**
 * Eight projects, run one after the other, so that a slow cluster never disturbs what is timed in milliseconds:
 * `unit` (pure), `redis` (a real server each), `programs` (what is started from a shell), `sources` (queue
 * libraries with their own workers), `kube` (a real API server),
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

export default defineConfig({
  test: {
    reporters: process.env['CI']
      ? ['default', ['json', { outputFile: 'out/test-report.json' }]]
      : ['default'],
    projects: [
      project('unit', 1, { testTimeout: 300_000, hookTimeout: 300_000, maxWorkers: 2 }),
      project('redis', 2, { testTimeout: 300_000, hookTimeout: 300_000, maxWorkers: 5 }),
      project('programs', 3, { testTimeout: 300_000, hookTimeout: 300_000, maxWorkers: 2 }),
      project('sources', 4, {
        globalSetup: ['test/sources/prepare.ts'],
        testTimeout: 300_000,
        hookTimeout: 600_000,
        maxWorkers: 2,
        // each has its own server, and mostly waits for processes to start
        maxConcurrency: 2,
      }),
      project('kube', 5, {
        globalSetup: ['test/support/tools.ts', 'test/sources/prepare.ts'],
        testTimeout: 400_000,
        hookTimeout: 600_000,
        maxWorkers: 3,
      }),
      project('browser', 6, { testTimeout: 600_000, hookTimeout: 600_000, fileParallelism: false }),
      project('chaos', 7, { testTimeout: 1_200_000, hookTimeout: 600_000, fileParallelism: false }),
      project('kind', 8, {
        globalSetup: ['test/kind/cluster.ts', 'test/support/kind-images.ts'],
        testTimeout: 600_000,
        hookTimeout: 1_800_000,
        fileParallelism: false,
      }),
    ],
  },
});

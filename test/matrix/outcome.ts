/** The tests' outcomes on one server, beside the differences that are known. */
import { differences, type Difference } from './differences.ts';
import type { MatrixServer } from './servers.ts';

export interface TestOutcome {
  /** The file's path, and the test's full name. */
  readonly title: string;
  readonly passed: boolean;
  /** Of a failure. */
  readonly why: string;
}

export interface Outcome {
  readonly server: string;
  /** `Redis 8.6.3`. */
  readonly version: string;
  /** ISO date. */
  readonly date: string;
  readonly passed: number;
  /** Tests that fail as differences.ts says. */
  readonly differences: number;
  /** Why, each reason once. */
  readonly reasons: readonly string[];
  readonly unexpected: readonly TestOutcome[];
  /** Tests that are listed, and passed. */
  readonly stale: readonly string[];
}

/** `known`: which failures are the server's own. */
export function judge(
  server: MatrixServer,
  version: string,
  tests: readonly TestOutcome[],
  known: readonly Difference[] = differences,
): Outcome {
  const here = known.filter(({ on }) => on(server));
  const failed = tests.filter(({ passed }) => !passed);
  const reasons = failed.map(
    (test) => here.find((one) => one.tests?.test(test.title) || one.failure?.test(test.why))?.why,
  );
  const given = reasons.filter((reason) => reason !== undefined);
  const isListed = ({ title }: TestOutcome): boolean =>
    here.some((one) => !one.sometimes && one.tests?.test(title));
  return {
    server: server.name,
    version,
    date: new Date().toISOString().slice(0, 10),
    passed: tests.length - failed.length,
    differences: given.length,
    reasons: [...new Set(given)],
    unexpected: failed.filter((_, i) => reasons[i] === undefined),
    stale: tests.filter((test) => test.passed && isListed(test)).map(({ title }) => title),
  };
}

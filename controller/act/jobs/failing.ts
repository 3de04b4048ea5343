/**
 * One Job that cannot be brought further stops no other one: it is left alone for a while, longer each time, and counts as running.
 * What no call can get past, a connection above all, is no matter of one Job.
 */
import { KubeError } from '../../../kube/errors.ts';
import { isReply, replyCode } from '../../../queue/connection/reply-code.ts';
import { UnexpectedReply } from '../../../queue/scripts/decode-reply.ts';

export interface FailingJob {
  readonly why: string;
  readonly times: number;
  /** ms of the elapsed clock. */
  readonly until: number;
}

/** By name of the Job. */
export type FailingJobs = Map<string, FailingJob>;

const FIRST_PAUSE_MS = 1_000;
const LONGEST_PAUSE_MS = 300_000;

/** Error replies that any command would have. */
const OF_THE_SERVER: ReadonlySet<string> = new Set([
  'BUSY',
  'CLUSTERDOWN',
  'LOADING',
  'MASTERDOWN',
  'MISCONF',
  'NOAUTH',
  'NOREPLICAS',
  'OOM',
  'READONLY',
  'UNBLOCKED',
  'WRONGPASS',
]);
/** Answers of an API server that is not ready, or has too much to do. */
const OF_THE_API: ReadonlySet<number> = new Set([401, 429, 503]);

/** Whether other Jobs may get further where this one does not. */
export function isOfOneJob(error: unknown): error is Error {
  if (error instanceof KubeError) return error.status !== undefined && !OF_THE_API.has(error.status);
  if (error instanceof UnexpectedReply) return true;
  return isReply(error) && !OF_THE_SERVER.has(replyCode(error) ?? '');
}

/** Runs a step of one Job. Resolves to `otherwise` where it fails, or has failed shortly before; rejects if no Job would get further. */
export async function alone<T>(
  failing: FailingJobs,
  { name, now }: { readonly name: string; readonly now: number },
  otherwise: T,
  step: () => Promise<T>,
): Promise<T> {
  const before = failing.get(name);
  if (before && now < before.until) return otherwise;
  try {
    const done = await step();
    failing.delete(name);
    return done;
  } catch (error) {
    if (!isOfOneJob(error)) throw error;
    const times = (before?.times ?? 0) + 1;
    const pauseMs = Math.min(LONGEST_PAUSE_MS, FIRST_PAUSE_MS * 2 ** (times - 1));
    failing.set(name, { why: error.message, times, until: now + pauseMs });
    return otherwise;
  }
}

/** The first of them in words, and when the next one is tried again, ms of the elapsed clock. */
export function failingIn(
  failing: FailingJobs,
): { readonly why: string; readonly until: number } | undefined {
  const [first] = failing;
  if (!first) return undefined;
  const [name, { why }] = first;
  const others = failing.size > 1 ? ` (and ${failing.size - 1} more)` : '';
  const until = Math.min(...[...failing.values()].map((one) => one.until));
  return { why: `Job ${name} cannot be brought further${others}: ${why}`, until };
}

/** What a pool has learned, in figures that can be checked by hand: for `status`, for `millrace explain`. Pure. */
import { rateOf } from './arrivals.ts';
import { quantileOf } from './histogram.ts';
import { serviceQuantile } from './service-time.ts';
import { WAIT_UNIT_MS, type Learned } from './learned.ts';

export interface Insight {
  /** How long a task runs, ms. The quantiles are those of the log-normal with the mean and the spread that were seen. */
  readonly service: { readonly mean: number; readonly p50: number; readonly p95: number } | undefined;
  /** From a replica that is asked for to one that is ready, ms. */
  readonly start: { readonly p50: number; readonly p95: number } | undefined;
  /** Tasks a second, over about the last minute. */
  readonly arrivalRate: number;
  /** How long recent tasks waited, ms, to within the time between two samples. */
  readonly waits: { readonly p50: number; readonly p95: number; readonly p99: number };
}

const RATE_SPAN_MS = 60_000;
/** Quantile of the normal distribution below which 95 % lie. */
const NORMAL_95 = 1.645;
/** Its standard deviation, in mean distances from the mean. */
const SIGMA = Math.sqrt(Math.PI / 2);

export function insightOf({ service, start, curve, at, waits }: Learned): Insight {
  const wait = (share: number): number => Math.round(quantileOf(waits, share) * WAIT_UNIT_MS);
  return {
    service: service && {
      mean: Math.round(service.mean),
      p50: Math.round(serviceQuantile(service, 0)),
      p95: Math.round(serviceQuantile(service, NORMAL_95)),
    },
    start: start && {
      p50: Math.round(start.mean),
      p95: Math.round(start.mean + NORMAL_95 * SIGMA * start.deviation),
    },
    arrivalRate: Math.round(rateOf(curve, at, RATE_SPAN_MS) * 1e6) / 1e3,
    waits: { p50: wait(0.5), p95: wait(0.95), p99: wait(0.99) },
  };
}

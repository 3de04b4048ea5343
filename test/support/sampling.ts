/** A sampler whose every sample is kept, and two ways to wait for one. */
import { pino } from 'pino';
import { expect } from 'vitest';
import { createSampler } from '../../controller/sample/sampler.ts';
import type { Sampler, SamplerOptions } from '../../controller/sample/sampler.ts';
import type { Sampled } from '../../controller/sample/sampled.ts';
import type { RedisAddress } from '../../queue/connection/connection.ts';
import { eventually } from './eventually.ts';

export interface Sampling extends AsyncDisposable {
  readonly sampler: Sampler;
  /** All that `latest` ever was, per call of onSample. */
  readonly seen: { id: string; sampled: Sampled }[];
  /** Which of them came of a wake. */
  readonly woken: string[];
  readonly log: string[];
}

export function sample(address: RedisAddress, options: Partial<SamplerOptions> = {}): Sampling {
  const seen: { id: string; sampled: Sampled }[] = [];
  const woken: string[] = [];
  const log: string[] = [];
  const sink = { write: (line: string) => void log.push(line) };
  const onSample = (id: string, wake: boolean): void => {
    seen.push({ id, sampled: sampler.latest(id) });
    if (wake) woken.push(id);
  };
  const sampler = createSampler({ address, onSample, log: pino({}, sink), pollMs: 50, ...options });
  return { sampler, seen, woken, log, [Symbol.asyncDispose]: () => sampler[Symbol.asyncDispose]() };
}

/** Resolves when the latest sample is known and matches. */
export const known = (sampler: Sampler, id: string, parts: object): Promise<void> =>
  eventually(() => expect(sampler.latest(id)).toMatchObject({ kind: 'known', sample: parts }));

/** Resolves when pool `p` is unknown, for this reason and in these words. */
export const unknown = (sampler: Sampler, reason: string, why: RegExp): Promise<void> =>
  eventually(() =>
    expect(sampler.latest('p')).toEqual({ kind: 'unknown', reason, why: expect.stringMatching(why) }),
  );

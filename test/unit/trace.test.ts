/** Traces: read from CSV, generated from a seed. */
import { describe, expect, test } from 'vitest';
import { createRandom } from '../../simulate/random.ts';
import { generate, traceKinds } from '../../simulate/generate.ts';
import { parseTrace, workOf } from '../../simulate/trace.ts';

describe('CSV', () => {
  test('arrival and service in seconds, in any order of columns and lines', () => {
    const trace = parseTrace('a.csv', 'service,who,arrival\n2,x,11.5\n0.5,y,10\n\n');
    expect([...trace.arrivals]).toEqual([0, 1_500]);
    expect([...trace.services]).toEqual([500, 2_000]);
  });
  test('dates, and tokens that become time', () => {
    const trace = parseTrace(
      'b.csv',
      'TIMESTAMP,ContextTokens,GeneratedTokens\r\n2023-11-16 18:17:03.9799600,4808,10\r\n2023-11-16 18:17:04.0319600,3180,8\r\n',
    );
    expect(trace.arrivals[1]).toBeCloseTo(52, 3);
    expect([...trace.services]).toEqual([50 + 1_202 + 300, 50 + 795 + 240]);
  });
  test.each([
    ['', /must name the columns/],
    ['a,b\n1,2', /must name the columns/],
    ['arrival,service\n', /holds no task/],
    ['arrival,service\n1,2\n1,', /line 3: "1,"/],
    ['arrival,service\nsoon,2', /line 2: "soon,2"/],
    ['arrival,service\n1,-2', /line 2/],
    ['arrival,service\n1,Infinity', /line 2/],
    ['arrival,service\n1,1e300', /line 2/],
    ['arrival,service\n0,1\n99999999999,1', /spans more than a year/],
  ])('%j is refused', (csv, message) => expect(() => parseTrace('x.csv', csv)).toThrow(message));
});

describe('generated', () => {
  test.each(traceKinds)('%s has the rate and the service time that it was asked for', (kind) => {
    const hours = 50;
    const trace = generate(kind, { durationMs: hours * 3_600_000, rate: 1, serviceMs: 500 });
    expect(trace.arrivals.length / (hours * 3_600)).toBeGreaterThan(0.85);
    expect(trace.arrivals.length / (hours * 3_600)).toBeLessThan(1.15);
    expect(workOf(trace) / trace.arrivals.length / 500).toBeGreaterThan(0.8);
    expect(workOf(trace) / trace.arrivals.length / 500).toBeLessThan(1.2);
    expect([...trace.arrivals]).toEqual([...trace.arrivals].toSorted((a, b) => a - b));
  });
  test('the seed decides', () => {
    expect(generate('onoff', { seed: 3 })).toEqual(generate('onoff', { seed: 3 }));
    expect(generate('onoff', { seed: 3 }).arrivals).not.toEqual(generate('onoff', { seed: 4 }).arrivals);
  });
});

test('draws have the moments that they promise', () => {
  const random = createRandom(11);
  const moments = (draw: () => number): number[] => {
    const values = Array.from({ length: 200_000 }, draw);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
    return [mean, Math.sqrt(variance) / mean];
  };
  const near = ([mean = 0, variation = 0]: number[], wanted: readonly [number, number]): void => {
    expect(mean / wanted[0]).toBeCloseTo(1, 1);
    expect(variation).toBeCloseTo(wanted[1], 1);
  };
  near(
    moments(() => random.uniform()),
    [0.5, 1 / Math.sqrt(3)],
  );
  near(
    moments(() => random.exponential(7)),
    [7, 1],
  );
  near(
    moments(() => random.lognormal(7, 0.5)),
    [7, 0.5],
  );
  near(
    moments(() => random.pareto(7, 5)),
    [7, 1 / Math.sqrt(15)],
  );
});

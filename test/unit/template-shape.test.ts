/** Pod templates of which nothing can be made. */
import { describe, expect, test } from 'vitest';
import { checkTemplate } from '../../controller/act/template-shape.ts';
import type { PodTemplateSpec } from '../../kube/wire.ts';

const container = { name: 'worker', image: 'worker:1' };
const check = (spec: object): void => checkTemplate({ spec } as PodTemplateSpec);

describe('what is read must be as in any Deployment', () => {
  test.each<[object, string]>([
    [{ containers: [{ ...container, env: { A: 'b' } }] }, 'template.spec.containers[0].env is not a list'],
    [{ containers: [container, { ...container, env: ['A=b'] }] }, 'containers[1].env[0] is not an object'],
    [
      { containers: [{ ...container, volumeMounts: [null] }] },
      'containers[0].volumeMounts[0] is not an object',
    ],
    [{ containers: [container], volumes: 'x' }, 'template.spec.volumes is not a list'],
    [{ containers: [container], initContainers: [7] }, 'template.spec.initContainers[0] is not an object'],
    [
      { containers: [container], initContainers: [{ ...container, env: {} }] },
      'template.spec.initContainers[0].env is not a list',
    ],
  ])('%j', (spec, why) => {
    expect(() => check(spec)).toThrow(RangeError);
    expect(() => check(spec)).toThrow(why);
  });

  test('what is not there, or null, is fine', () =>
    expect(() =>
      check({ containers: [{ ...container, env: null, volumeMounts: [] }], volumes: null }),
    ).not.toThrow());
});

test('levels', () => {
  const nested = (levels: number): object => {
    let value: object = {};
    for (let i = 0; i < levels; i++) value = { a: value };
    return { containers: [container], affinity: value };
  };
  expect(() => check(nested(90))).not.toThrow();
  expect(() => check(nested(100_000))).toThrow(/more than 100 levels deep/);
});

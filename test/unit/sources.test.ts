/** The sources by their settings: what people call their queues, and settings that no source has. */
import { describe, expect, test } from 'vitest';
import { withDefaults, type SourceSpecInput } from '../../kube/defaults.ts';
import { sourceQueues, type SourceSpec } from '../../kube/source-spec.ts';
import { withoutPort } from '../../queue/sources/client-address.ts';
import { sourceOf } from '../../queue/sources/sources.ts';

const specOf = (source: SourceSpecInput): SourceSpec => withDefaults({ redis: {}, source }).source ?? {};

test.each<[SourceSpecInput, string[]]>([
  [{ asynq: { queues: ['default', 'low'] } }, ['asynq:default', 'asynq:low']],
  [{ bullmq: { queues: ['mail', 'sms'] } }, ['bullmq:mail', 'bullmq:sms']],
  [{ bullmq: { queues: ['mail'], prefix: '{app}' } }, ['bullmq:{app}:mail']],
  [{ celery: { queues: ['mail', 'sms'] } }, ['celery:mail', 'celery:sms']],
  [{ celery: { queues: ['mail'], keyPrefix: 'shop:' } }, ['celery:shop:mail']],
  [{ rq: { queues: ['mail'], prefix: 'rq' } }, ['rq:mail']],
  [{ rq: { queues: ['mail'], prefix: 'shop' } }, ['rq:shop:mail']],
  [{ rq: { queues: ['default'] } }, ['rq:default']],
  [{ sidekiq: { queues: ['default', 'low'] } }, ['sidekiq:default', 'sidekiq:low']],
  [{ saq: { queues: ['default'] } }, ['saq:default']],
  [{ arq: { queues: ['arq:queue', 'mail'] } }, ['arq:queue', 'arq:mail']],
  [{ dramatiq: { queues: ['default'] } }, ['dramatiq:default']],
  [{ dramatiq: { queues: ['default'], namespace: 'shop' } }, ['dramatiq:shop:default']],
  [{ list: { keys: ['jobs'] } }, ['list:jobs']],
  [{ taskiq: { queues: ['taskiq', 'mail'], group: 'taskiq' } }, ['taskiq:taskiq', 'taskiq:mail']],
  [{ stream: { keys: ['orders'], group: 'workers' } }, ['stream:orders']],
  [{ custom: { waiting: [{ command: 'LLEN', key: 'jobs' }] } }, ['custom:jobs']],
])('%j is called %j', (source, names) => {
  const spec = specOf(source);
  expect(sourceQueues(spec)).toEqual(names);
  expect(sourceOf(spec).kind).toBe(Object.keys(source)[0]);
});

describe('refused, with what to do', () => {
  test('a library of a later version', () => {
    const spec = { later: { queues: ['a'] } } as SourceSpec;
    expect(() => sourceOf(spec)).toThrow(
      'source has later, which this version does not know: use one of arq, asynq, bullmq, celery, custom, dramatiq, list, rq, saq, sidekiq, stream, taskiq',
    );
    expect(sourceQueues(spec)).toEqual(['later']);
  });

  test.each(['now:h', 'now:ms*', '(now:s+1'])('the argument %s', (arg) => {
    const waiting = [{ command: 'ZCOUNT' as const, key: 'a', args: [arg, '+inf'] }];
    expect(() => sourceOf({ custom: { waiting } })).toThrow(
      `"${arg}" is no argument that is known: write now:s`,
    );
  });
});

test.each([
  ['10.0.0.7:51234', '10.0.0.7'],
  ['[fd00::7]:51234', 'fd00::7'],
  ['unknown', 'unknown'],
])('a client at %s is in the pod with the address %s', (client, address) => {
  expect(withoutPort(client)).toBe(address);
});

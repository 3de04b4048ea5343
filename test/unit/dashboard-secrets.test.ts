/** What the dashboard must not show: secrets never, tasks only if allowed. */
import { expect, test } from 'vitest';
import { kindOf } from '../../controller/dashboard/read/detail-rows.ts';
import { leaderAddress, leaderNote } from '../../controller/dashboard/leader.ts';
import { conditionsOf } from '../../controller/dashboard/row.ts';
import { settingsOf } from '../../controller/dashboard/settings.ts';
import { isToken, shownToken } from '../../controller/dashboard/token.ts';
import { withDefaults } from '../../kube/defaults.ts';
import { RunAs, type WorkerPool } from '../../kube/workerpool.ts';

test.each([
  ['redis://user:hunter2@redis:6379/0', 'redis://redis:6379/0'],
  ['rediss://:hunter2@redis.example.org', 'rediss://redis.example.org'],
  ['redis://redis:6379/1?password=hunter2', 'redis://redis:6379/1'],
  ['redis://user:hun@ter2@redis:6379', 'set'],
  ['redis://:hunter2/x@redis:6379', 'set'],
  ['redis://hunter2/1?@redis:6379', 'set'],
  ['redis://[::1]:6379', 'redis://[::1]:6379'],
  ['not an address: hunter2', 'set'],
])('of the address %s, only where it leads', (url, shown) => {
  const groups = settingsOf(withDefaults({ redis: { url } }), true);
  const entries = groups.flatMap(({ entries: all }) => all);
  expect(entries.find(([name]) => name === 'redis')).toEqual(['redis', shown]);
});

test('of containers, no arguments and no environment; of Secrets, the name', () => {
  const container = {
    name: 'worker',
    image: 'worker:1',
    args: ['--command', 'curl -H token=hunter2'],
    env: [{ name: 'PASSWORD', value: 'hunter2' }],
    resources: { limits: { memory: '1Gi' } },
  };
  const spec = withDefaults({
    redis: {
      url: 'redis://redis',
      username: 'hunter2',
      passwordFrom: { secretKeyRef: { name: 'redis-secret', key: 'password' } },
      sentinel: {
        name: 'mymaster',
        nodes: ['hunter2:hunter2@sentinel-0:26379'],
        username: 'hunter2',
        passwordFrom: { secretKeyRef: { name: 'sentinel-secret', key: 'password' } },
      },
    },
    template: { spec: { containers: [container] } },
  });
  const text = JSON.stringify(settingsOf(spec, true));
  expect(text).not.toContain('hunter2');
  expect(text).toContain('from Secret redis-secret, key password');
  expect(text).toContain('from Secret sentinel-secret, key password');
  expect(text).toContain('memory 1Gi');
});

test('of cron tasks, the task only with leave', () => {
  const crons = [{ name: 'nightly', schedule: '0 3 * * *', task: { hook: 'https://example.org/hunter2' } }];
  const spec = withDefaults({ redis: { url: 'redis://redis' }, crons });
  expect(JSON.stringify(settingsOf(spec, false))).toContain('0 3 * * * in UTC');
  expect(JSON.stringify(settingsOf(spec, false))).not.toContain('hunter2');
  expect(JSON.stringify(settingsOf(spec, true))).toContain('hunter2');
});

test('the condition that names a task does so only with leave', () => {
  const condition = {
    type: 'PoisonTasks',
    status: 'True' as const,
    reason: 'WorkersLost',
    message: 'Task "customer-17" is a dead letter: delivered 5 times.',
    observedGeneration: 1,
    lastTransitionTime: '2026-01-01T00:00:00Z',
  };
  const spec = withDefaults({ redis: { url: 'redis://redis' } });
  const pool = { spec, status: { conditions: [condition] } } as WorkerPool;
  expect(conditionsOf(pool, true)[0]?.message).toContain('customer-17');
  const [shown] = conditionsOf(pool, false);
  expect(shown?.message).not.toContain('customer-17');
  expect(shown?.bad).toBe(true);
});

test('what the container of a task says is in no condition without leave', () => {
  const message = 'Container "main" of pod videos-x cannot start: no such customer-17';
  const condition = { type: 'Ready', status: 'False' as const, reason: 'WorkersFailing', message };
  const of = (runAs: RunAs): WorkerPool => {
    const spec = withDefaults({ redis: { url: 'redis://redis' }, runAs });
    return { spec, status: { conditions: [condition] } } as unknown as WorkerPool;
  };
  expect(conditionsOf(of(RunAs.Job), true)[0]?.message).toBe(message);
  expect(conditionsOf(of(RunAs.Job), false)[0]?.message).not.toContain('customer-17');
  expect(conditionsOf(of(RunAs.Deployment), false)[0]?.message).toBe(message);
});

test.each([
  ['RangeError: tile 5 of customer 17', 'RangeError'],
  ['not to be retried: RangeError: tile 5 of customer 17', 'RangeError'],
  ['exit code 65: no such customer 17', 'exit code 65'],
  ['killed by SIGKILL', 'killed by SIGKILL'],
  [
    'delivered 5 times, and each time its worker was lost',
    'delivered 5 times, and each time its worker was lost',
  ],
  ['Customer: 17', 'an error whose words are hidden'],
  ['customer 17 is unknown', 'an error whose words are hidden'],
])('of the error "%s", what kind it is', (error, kind) => expect(kindOf(error)).toBe(kind));

test.each([
  [undefined, false],
  ['', false],
  ['Bearer', false],
  ['Bearer wrong', false],
  ['Bearer 0123456789abcdeF', false],
  ['Basic 0123456789abcdef', false],
  ['Bearer 0123456789abcdef', true],
])('the header %j allows: %j', (header, allowed) =>
  expect(
    isToken(
      shownToken({ headers: header === undefined ? {} : { authorization: header } }),
      '0123456789abcdef',
    ),
  ).toBe(allowed),
);

test('a token may come in a header that no proxy takes for itself', () => {
  const headers = { authorization: 'Bearer of the proxy', 'x-millrace-token': 'mine' };
  expect(shownToken({ headers })).toBe('mine');
});

test("the leader's address counts only with the leader's own name", () => {
  const note = leaderNote('me_1', '10.1.2.3', 8080);
  expect(leaderAddress('me_1', note)).toBe('http://10.1.2.3:8080');
  expect(leaderAddress('me_2', note)).toBeUndefined();
  expect(leaderAddress('', { 'millrace.dev/dashboard': ' http://10.1.2.3:8080' })).toBeUndefined();
  expect(leaderAddress('me_1', leaderNote('me_1', 'fd00::1', 80))).toBe('http://[fd00::1]:80');
  expect(leaderNote('me_1', undefined, 80)).toEqual({});
});

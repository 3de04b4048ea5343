/** How a host name of the cluster is read: see kube/backend.ts. */
import { expect, test } from 'vitest';
import { serviceNames } from '../../kube/backend.ts';

const shop = 'shop';
test.each([
  ['redis', [{ namespace: shop, name: 'redis', certain: true }]],
  [
    'redis-0.data',
    [
      { namespace: 'data', name: 'redis-0', certain: false },
      { namespace: shop, name: 'data', pod: 'redis-0', certain: false },
    ],
  ],
  ['redis.data.svc', [{ namespace: 'data', name: 'redis', certain: true }]],
  ['Redis.data.svc.cluster.local.', [{ namespace: 'data', name: 'redis', certain: true }]],
  [
    'redis-0.redis.data.svc.cluster.local',
    [{ namespace: 'data', name: 'redis', pod: 'redis-0', certain: true }],
  ],
  ['redis-0.redis.data', [{ namespace: 'data', name: 'redis', pod: 'redis-0', certain: false }]],
  ['localhost', []],
  ['10.0.0.7', []],
  ['fd00::7', []],
  ['cache.eu-west.example.org', []],
])('%s', (host, names) => {
  expect(serviceNames(host, shop)).toEqual(names);
});

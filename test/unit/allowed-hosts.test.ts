import { describe, expect, test } from 'vitest';
import { hostGuard } from '../../controller/connect/allowed-hosts.ts';

const open = hostGuard({ allowed: [], allowLocal: false });

describe('without a list, every host that is not local', () => {
  test.each([
    '10.1.2.3',
    '192.168.0.1',
    '172.16.0.9',
    '8.8.8.8',
    'fd00::10',
    '2001:db8::1',
    '64:ff9b::808:808',
  ])('%s is allowed', (ip) => expect(open.allows('redis', ip)).toBe(true));
  test.each([
    ['loopback', ['127.0.0.1', '127.8.9.1', '::1', '::ffff:127.0.0.1', '::ffff:7f00:1', '64:ff9b::7f00:1']],
    ['no address at all, which means this host', ['0.0.0.0', '0.1.2.3', '::', '::ffff:0:0']],
    ['what is on the link', ['169.254.10.1', 'fe80::1', 'fe80::1%eth0', 'febf::1']],
    [
      'metadata of clouds',
      ['169.254.169.254', '100.100.100.200', '168.63.129.16', 'fd00:ec2::254', '64:ff9b::a9fe:a9fe'],
    ],
    ['groups, and what is reserved', ['224.0.0.1', '255.255.255.255', '240.0.0.1', 'ff02::1']],
  ])('%s is refused', (_what, ips) => {
    expect(ips.filter((ip) => open.allows('redis.example.com', ip))).toEqual([]);
  });
  test('but for who asks for it', () => {
    const local = hostGuard({ allowed: [], allowLocal: true });
    expect(['127.0.0.1', '::1', '169.254.1.1', '10.0.0.1'].every((ip) => local.allows('h', ip))).toBe(true);
  });
});

describe('with a list, the hosts on it', () => {
  const allowed = ['redis.example.com', '*.shop.svc', '.maps.svc.', '10.1.0.0/16', '127.0.0.1', 'fd01::/64'];
  const guard = hostGuard({ allowed, allowLocal: false });
  test.each<[host: string, ip: string, allows: boolean]>([
    ['redis.example.com', '8.8.8.8', true],
    ['REDIS.example.com.', '8.8.8.8', true],
    ['other.example.com', '8.8.8.8', false],
    ['redis.example.com.evil.org', '8.8.8.8', false],
    ['a.shop.svc', '10.9.9.9', true],
    ['a.b.shop.svc', '10.9.9.9', true],
    ['shop.svc', '10.9.9.9', false],
    ['evilshop.svc', '10.9.9.9', false],
    ['a.maps.svc', '10.9.9.9', true],
    ['anything', '10.1.2.3', true],
    ['10.1.2.3', '10.1.2.3', true],
    ['10.2.2.3', '10.2.2.3', false],
    ['::ffff:10.1.2.3', '::ffff:10.1.2.3', true],
    ['x', 'fd01::7', true],
    ['x', 'fd01:0:0:1::7', false],
    ['x', '127.0.0.1', true],
    ['x', '127.0.0.2', false],
    // a name says nothing of where it leads
    ['redis.example.com', '127.0.0.2', false],
    ['a.shop.svc', '169.254.169.254', false],
  ])('%s at %s: %s', (host, ip, allows) => expect(guard.allows(host, ip)).toBe(allows));
});

test('some addresses are refused by any list', () => {
  const guard = hostGuard({
    allowed: ['10.0.0.0/8'],
    allowLocal: true,
    refused: ['10.96.0.1', 'kubernetes'],
  });
  expect(guard.allows('kubernetes.default', '10.96.0.1')).toBe(false);
  expect(guard.allows('redis', '10.96.0.2')).toBe(true);
});

test.each([
  '',
  '*',
  'a b',
  'http://redis',
  'redis:6379',
  '10.0.0.0/33',
  '::/129',
  '10.0.0',
  '*.10.0.0.1',
  '-a',
])('"%s" is no entry', (entry) =>
  expect(() => hostGuard({ allowed: [entry], allowLocal: false })).toThrow(`"${entry}" is no host`),
);

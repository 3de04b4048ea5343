/**
 * Which Redis hosts the controller connects to. The author of a pool chooses the host, so without rules the controller would give
 * access to everything that its pod can reach.
 *
 * A name is checked as it is written, and again by the addresses that it resolves to at the moment of connecting, of which only
 * allowed ones are used: neither another spelling of an address (decimal, hex, mapped into IPv6) nor a name that resolves
 * differently the second time can bypass the rules.
 */
import { BlockList, isIP } from 'node:net';
import type { HostGuard } from '../../queue/connection/address.ts';

export interface HostRules {
  /**
   * Names (`redis.example.com`), suffixes (`*.redis.svc.cluster.local`), addresses and networks (`10.1.0.0/16`); when empty,
   * every host that is not local.
   */
  readonly allowed: readonly string[];
  /** Allows local addresses, too: see `LOCAL`. */
  readonly allowLocal: boolean;
  /** Addresses that are never connected to, such as the API server's. */
  readonly refused?: readonly string[];
}

/** This host, its link, multicast groups, and the metadata services of clouds, which give instances their credentials. */
const LOCAL = [
  '0.0.0.0/8',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '224.0.0.0/3',
  '100.100.100.200/32',
  '168.63.129.16/32',
  '192.0.0.192/32',
  '::/127',
  'fe80::/10',
  'fec0::/10',
  'ff00::/8',
  'fd00:ec2::254/128',
  'fd20:ce::254/128',
];
/** NAT64: the last 32 bits are the IPv4 address. */
const TRANSLATED = /^64:ff9b::(?:([0-9a-f]{1,4}):)?([0-9a-f]{1,4})$/;

/** Throws `RangeError` for an entry that is none of the forms. */
export function hostGuard({ allowed, allowLocal, refused = [] }: HostRules): HostGuard {
  const names = new Set<string>();
  const suffixes: string[] = [];
  const listed = new BlockList();
  for (const entry of allowed) {
    const text = entry.toLowerCase();
    if (addNetwork(listed, text)) continue;
    const [, star, rest = ''] =
      /^(\*?\.)?((?:[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?\.)*[a-z0-9_][a-z0-9_-]*)\.?$/.exec(text) ?? [];
    if (rest === '' || /^[0-9.]+$/.test(rest))
      throw new RangeError(
        `"${entry}" is no host that can be allowed: write a name, a suffix such as *.example.com, an address or a network such as 10.1.0.0/16`,
      );
    if (star) suffixes.push(`.${rest}`);
    else names.add(rest);
  }
  const local = networks(LOCAL);
  // an API server of this machine says nothing about the other ports of it
  const never = networks(refused.filter((address) => isIP(address) !== 0 && !has(local, address)));

  return {
    allows: (host, address) => {
      const ip = plain(address);
      if (has(never, ip)) return false;
      if (has(listed, ip)) return true;
      if (!allowLocal && has(local, ip)) return false;
      if (allowed.length === 0) return true;
      const name = host.toLowerCase().replace(/\.$/, '');
      return names.has(name) || suffixes.some((suffix) => name.endsWith(suffix));
    },
  };
}

function networks(entries: readonly string[]): BlockList {
  const list = new BlockList();
  for (const entry of entries) addNetwork(list, entry);
  return list;
}

/** `false` if the text is neither an address nor a network. */
function addNetwork(list: BlockList, text: string): boolean {
  const [, address = '', bits] = /^\[?([^/\]]*)\]?(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const version = isIP(address);
  if (version === 0) return false;
  const most = version === 4 ? 32 : 128;
  const prefix = bits === undefined ? most : Number(bits);
  if (prefix > most) return false;
  list.addSubnet(address, prefix, version === 4 ? 'ipv4' : 'ipv6');
  return true;
}

/** A BlockList handles IPv4 addresses mapped into IPv6. */
function has(list: BlockList, ip: string): boolean {
  return list.check(ip, isIP(ip) === 4 ? 'ipv4' : 'ipv6');
}

/** Without a zone, and as IPv4 if it represents an IPv4 address. */
function plain(address: string): string {
  const [ip = ''] = address.split('%');
  if (isIP(ip) !== 6) return ip;
  const [, high = '0', low] = TRANSLATED.exec(new URL(`http://[${ip}]`).hostname.slice(1, -1)) ?? [];
  if (low === undefined) return ip;
  const [a, b] = [Number.parseInt(high, 16), Number.parseInt(low, 16)];
  return [a >> 8, a & 255, b >> 8, b & 255].join('.');
}

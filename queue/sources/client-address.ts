/** The address of a client without its port, as a pod has it: Redis writes `10.0.0.7:51234`, or `[fd00::7]:51234`. */
export function withoutPort(address: string): string {
  return address.replace(/:\d+$/, '').replace(/^\[(.*)\]$/, '$1');
}

/** Wrong tokens: logged and counted; after several of them, no more are checked from that address for a while. */
import type { IncomingMessage } from 'node:http';
import type { Logger } from '../../runtime/log.ts';

/** `token`: unknown to everyone; `rights`: of a user who may not; `limit`: too many wrong tokens from the address. */
export type RefusalKind = 'token' | 'rights' | 'limit';

export interface Strikes {
  /** Whether too many came from that address; counts the refusal if so. */
  blocked(request: IncomingMessage): boolean;
  /** Notes a refusal that counts towards the limit. */
  add(request: IncomingMessage, kind: RefusalKind): void;
  /** Notes one that does not. */
  note(request: IncomingMessage, kind: RefusalKind): void;
}

export interface StrikesOptions {
  readonly log: Logger;
  readonly counted: (kind: RefusalKind) => void;
  /** ms, monotonic. */
  readonly now: () => number;
}

const MOST = 10;
const WINDOW_MS = 60_000;
const MOST_ADDRESSES = 1_000;

export function createStrikes({ log, counted, now }: StrikesOptions): Strikes {
  const byAddress = new Map<string, { count: number; readonly since: number }>();

  function current(address: string): { count: number; readonly since: number } | undefined {
    const found = byAddress.get(address);
    if (!found || now() - found.since < WINDOW_MS) return found;
    byAddress.delete(address);
    return undefined;
  }

  function note(request: IncomingMessage, kind: RefusalKind): void {
    counted(kind);
    const [path = ''] = (request.url ?? '').split('?');
    log.warn({ address: addressOf(request), path: path.slice(0, 200), kind }, 'dashboard request refused');
  }

  return {
    blocked: (request) => {
      const over = (current(addressOf(request))?.count ?? 0) >= MOST;
      if (over) counted('limit');
      return over;
    },
    add: (request, kind) => {
      const address = addressOf(request);
      const strikes = current(address) ?? { count: 0, since: now() };
      strikes.count++;
      byAddress.set(address, strikes);
      for (const oldest of byAddress.keys()) {
        if (byAddress.size <= MOST_ADDRESSES) break;
        byAddress.delete(oldest);
      }
      note(request, kind);
    },
    note,
  };
}

function addressOf(request: IncomingMessage): string {
  return request.socket.remoteAddress ?? '';
}

/** The browsers that are connected: how many there may be, and whether each may still see what it is shown. */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { interval } from '../../../runtime/timers.ts';

const MOST_BROWSERS = 256;
/** So that one address cannot take all places; many browsers may come through one proxy. */
const MOST_AT_AN_ADDRESS = 128;
/** A visitor's rights can change while they watch. */
const RECHECK_MS = 30_000;

export interface Browsers {
  readonly size: number;
  /** False if there is no place for one more, or none for its address. Its place is free again when `response` is closed. */
  add(request: IncomingMessage, response: ServerResponse): boolean;
  /** Disconnects them all. */
  stop(): void;
}

export function createBrowsers(): Browsers {
  /** Their addresses. */
  const browsers = new Map<ServerResponse, string | undefined>();
  return {
    get size() {
      return browsers.size;
    },
    add: ({ socket: { remoteAddress } }, response) => {
      const same = [...browsers.values()].filter((address) => address === remoteAddress).length;
      if (browsers.size >= MOST_BROWSERS || same >= MOST_AT_AN_ADDRESS) return false;
      browsers.set(response, remoteAddress);
      response.once('close', () => browsers.delete(response));
      return true;
    },
    stop: () => {
      for (const browser of browsers.keys()) browser.destroy();
    },
  };
}

/** Ends `response` once its reader's rights have changed, to less or to more than it shows. */
export function endWhenRightsChange(response: ServerResponse, holds: () => Promise<boolean>): void {
  const again = interval(RECHECK_MS, () => {
    holds().then(
      (same) => same || response.destroy(),
      // if the rights cannot be checked now, they are checked again later
      () => undefined,
    );
  }).unref();
  response.once('close', () => again.clear());
}

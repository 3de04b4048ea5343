/**
 * One browser that listens, over HTTP. What is written to it is shared with all others, and waits in its own socket only:
 * one that does not keep up is cut off, and comes back by itself.
 */
import type { ServerResponse } from 'node:http';
import { interval } from '../../runtime/timers.ts';
import type { Channel } from './channel.ts';

/** Waiting to be sent to one browser, bytes. */
const MOST_BEHIND = 1 << 20;
/** Proxies cut what is silent for long. */
const HEARTBEAT_MS = 15_000;
/** How long a browser waits until it comes back, ms. */
const RETRY_MS = 2_000;

/** Answers with events until either side ends it. */
export async function sendEvents(
  channel: Channel,
  since: string | undefined,
  response: ServerResponse,
): Promise<void> {
  let ended = false;
  let end = (): void => undefined;
  const beat = interval(HEARTBEAT_MS, () => send(': still here\n\n')).unref();
  response.once('close', () => {
    ended = true;
    beat.clear();
    end();
  });
  const send = (text: string): void => {
    if (ended) return;
    if (response.writableLength > MOST_BEHIND) response.destroy();
    else response.write(text);
  };
  response.writeHead(200, {
    'content-type': 'text/event-stream; charset=utf-8',
    'cache-control': 'no-store',
    'x-accel-buffering': 'no',
    'x-content-type-options': 'nosniff',
  });
  send(`retry: ${RETRY_MS}\n\n`);
  try {
    end = await channel.listen(since, send);
    if (ended) end();
  } catch {
    response.destroy();
  }
}

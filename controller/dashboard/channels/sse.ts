/**
 * Sends the events of a channel to one browser. The events are shared with all others, and buffered in its socket only: a browser
 * that does not keep up is disconnected, and reconnects by itself.
 */
import type { ServerResponse } from 'node:http';
import { interval } from '../../../runtime/timers.ts';
import type { Channel } from './channel.ts';

/** Most bytes buffered for one browser. */
const MOST_BEHIND = 1 << 20;
/** Proxies close connections that are idle for long. */
const HEARTBEAT_MS = 15_000;
/** How long a browser waits before it reconnects, ms. */
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

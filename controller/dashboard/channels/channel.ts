/**
 * A snapshot that several browsers watch, and its changes, tick by tick.
 *
 * A change is computed and serialized once per tick, however many browsers listen, and not at all while none does. The last
 * changes are kept for browsers that reconnect, or that have just fetched the snapshot: they continue from their `seq`. A browser
 * with an unknown `seq` is told to fetch the snapshot again. A channel that has not been used for a while stops.
 */
import { randomBytes } from 'node:crypto';
import { timeout, type Timer } from '../../../runtime/timers.ts';

export interface ChannelOptions<Change> {
  readonly everyMs: number;
  /** The change since the last call, or since `begin`; `undefined` for none. */
  readonly change: (now: number) => Promise<Change | undefined>;
  /** Called for the first browser after an idle time: sets the state that changes are relative to. */
  readonly begin: (now: number) => Promise<void>;
  readonly now: () => number;
  /** It has stopped: no browser is left. */
  readonly onIdle?: () => void;
}

/** Receives changes, formatted as server-sent events. */
export type Listener = (event: string) => void;

export interface Channel {
  /** Starts it if necessary; returns the `seq` of the current state. */
  readonly fresh: () => Promise<string>;
  /** From after `since`, as far as that is known. Returns a function that ends it. */
  listen(since: string | undefined, listener: Listener): Promise<() => void>;
  /** Stops it; listeners receive nothing more. */
  stop(): void;
}

const KEPT = 60;
/** Time to fetch the snapshot and then listen, or to reconnect, ms. */
const LINGER_MS = 30_000;

export function createChannel<Change>(options: ChannelOptions<Change>): Channel {
  const { everyMs, change, begin, now, onIdle } = options;
  /** Of this life of the channel: another process, or a later life, has other numbers. */
  let life = '';
  let count = 0;
  let running: Promise<void> | undefined;
  let timer: Timer | undefined;
  let usedAt = 0;
  const kept: { readonly count: number; readonly event: string }[] = [];
  const listeners = new Set<Listener>();

  function stop(): void {
    timer?.clear();
    running = undefined;
    life = '';
    kept.length = 0;
    onIdle?.();
  }

  /** Starts it if it is not running. Rejects if the current state cannot be read. */
  function run(): Promise<void> {
    usedAt = now();
    running ??= start();
    return running;
  }

  async function start(): Promise<void> {
    const mine = randomBytes(4).toString('hex');
    life = mine;
    count = 0;
    try {
      await begin(now());
    } catch (error) {
      running = undefined;
      throw error;
    }
    if (life === mine) later(mine);
  }

  function later(mine: string): void {
    timer = timeout(everyMs, () => void tick(mine)).unref();
  }

  /** Never rejects: what could not be computed now is part of the next change. */
  async function tick(mine: string): Promise<void> {
    if (listeners.size > 0) usedAt = now();
    else if (now() - usedAt > LINGER_MS) return stop();
    const changed = await change(now()).catch(() => undefined);
    if (life !== mine) return;
    if (changed !== undefined) {
      count++;
      const event = eventOf(`${life}-${count}`, 'change', JSON.stringify(changed));
      kept.push({ count, event });
      if (kept.length > KEPT) kept.shift();
      for (const listener of listeners) listener(event);
    }
    later(mine);
  }

  return {
    fresh: async () => {
      await run();
      return `${life}-${count}`;
    },
    listen: async (since, listener) => {
      await run();
      const [of, text = ''] = since?.split('-') ?? [];
      const from = Number(text);
      const oldest = kept[0]?.count ?? count + 1;
      if (of === life && from + 1 >= oldest && from <= count)
        for (const { count: number, event } of kept) {
          if (number > from) listener(event);
        }
      else listener(eventOf(`${life}-${count}`, 'reset', '{}'));
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    stop,
  };
}

function eventOf(id: string, name: string, data: string): string {
  return `id: ${id}\nevent: ${name}\ndata: ${data}\n\n`;
}

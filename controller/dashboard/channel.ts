/**
 * What several browsers watch at once: a whole, and what changed of it, tick by tick.
 *
 * A change is computed and put into words once a tick, whoever many listen, and not at all while nobody does. The last
 * changes are kept for those who come back after a short break, or who have just fetched the whole: they go on from the `seq`
 * that they have. Who has another one is told to fetch the whole again. A channel that nobody has used for a while stops.
 */
import { randomBytes } from 'node:crypto';
import { timeout, type Timer } from '../../runtime/timers.ts';

export interface ChannelOptions<Change> {
  readonly everyMs: number;
  /** What changed since it was called last, or since `begin`; `undefined` for nothing. */
  readonly change: (now: number) => Promise<Change | undefined>;
  /** Called when somebody comes after nobody was there: what to compare with from now on. */
  readonly begin: (now: number) => Promise<void>;
  readonly now: () => number;
  /** It has stopped: nobody is there. */
  readonly onIdle?: () => void;
}

/** Hears of changes, as events in the form of server-sent events. */
export type Listener = (event: string) => void;

export interface Channel {
  /** Makes sure that it runs; the `seq` that goes with what there is now. */
  readonly fresh: () => Promise<string>;
  /** From after `since`, as far as that is known. Returns a function that ends it. */
  listen(since: string | undefined, listener: Listener): Promise<() => void>;
  /** Ends it; listeners hear nothing more. */
  stop(): void;
}

const KEPT = 60;
/** Time to fetch the whole and then listen, or to come back, ms. */
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

  /** Starts it where it does not run. Rejects when what there is cannot be had. */
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

/**
 * A client for the keys of one slot of a Redis Cluster, to be used like a connection to a single server. It has no connection of its
 * own: its commands go over the link to the primary that has the slot (links.ts), which many clients share, and its status, stream
 * and events are those of that link.
 */
import { Redis, type Command } from 'ioredis';
import { insideOf, type SentCommand } from '../ioredis-internals.ts';

/** A command on its way, which may be sent more than once. */
export interface CommandDelivery {
  send(): void;
  /** It was executed. */
  answered(): void;
  /** An attempt has failed: it is repeated, or the command is rejected. */
  failed(error: Error): void;
}

export interface SlotClientOptions {
  readonly slot: number;
  readonly deliver: (
    client: SlotClient,
    command: SentCommand,
    reject: (error: Error) => void,
  ) => CommandDelivery;
  readonly onClose: (client: SlotClient) => void;
}

/** What a client shows of the link that it uses. */
const EVENTS = ['connecting', 'connect', 'ready', 'close', 'reconnecting', 'end'] as const;

export class SlotClient extends Redis {
  readonly slot: number;
  readonly #options: SlotClientOptions;
  #link: Redis | undefined;
  #closed = false;

  constructor(options: SlotClientOptions) {
    super({ lazyConnect: true, enableAutoPipelining: false });
    this.slot = options.slot;
    this.#options = options;
    // an abandoned request must leave the link, which would resend it for ever
    insideOf(this).flushQueue = (error) => this.#link && insideOf(this.#link).flushQueue(error);
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Shows this link from now on. */
  attach(link: Redis): void {
    if (this.#link === link || this.#closed) return;
    this.#link = link;
    // its credentials may be replaced; those who open another connection to that server read them here
    this.options = link.options;
    this.show(link, link.status);
  }

  /** The link has another status. */
  show(link: Redis, status: string): void {
    if (this.#link !== link || this.#closed) return;
    this.use(link);
    const shown = EVENTS.find((event) => event === status);
    if (shown && shown !== this.status) insideOf(this).setStatus(shown);
  }

  /** The connection of the last command. */
  use({ stream }: Redis): void {
    this.stream = stream;
  }

  override sendCommand(command: Command): unknown {
    const { resolve, reject } = command;
    if (this.#closed) reject(new Error('Connection is closed.'));
    else if (command.name === 'quit') {
      this.disconnect();
      resolve('OK');
    } else {
      const delivery = this.#options.deliver(this, command, reject);
      command.resolve = (reply) => {
        delivery.answered();
        resolve(reply);
      };
      command.reject = (error) => delivery.failed(error);
      delivery.send();
    }
    return command.promise;
  }

  /** The link stays. */
  override disconnect(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#link = undefined;
    this.#options.onClose(this);
    insideOf(this).setStatus('end');
  }
}

/** Shows each change of a link's status to the clients that use it. */
export function showLink(link: Redis, clients: Iterable<SlotClient>): void {
  for (const event of EVENTS)
    link.on(event, () => {
      for (const client of clients) client.show(link, event);
    });
}

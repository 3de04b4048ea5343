/**
 * Stands between the socket and ioredis, measures each reply before a decoder sees it (reply-scanner.ts), and refuses what ioredis
 * would throw at from out of a data handler: a reply that nobody asked for, a message without a channel. A server that breaks the
 * rules loses the connection, what was asked of it is rejected with `ReplyRefused`, and it is asked again more and more slowly.
 *
 * The guard takes the place of the socket's `push`, through which every byte goes that is read. `test/redis/untrusted.test.ts` fails
 * when ioredis or Node do that in another way.
 */
import type { Duplex } from 'node:stream';
import type { Redis } from 'ioredis';
import { timeout } from '../../runtime/timers.ts';
import { renewConnection } from './close.ts';
import { createReplyScanner, replyLimits, ReplyRefused, type ReplyFrame } from './reply-scanner.ts';

/** A line for each connection: as large as an installation, and as what clients call themselves. */
const CLIENT_LIST_BYTES = 8 * 1_048_576;
/** A peek at a queue returns a whole task, of which nobody wants more than that it is there. */
const PEEK_BYTES = 4_096;

/** Messages that nobody asked for: more than this, in bytes a second and at once, have to wait in the socket. */
const MESSAGES_PER_S = 1_048_576;
const MESSAGES_AT_ONCE = 2_097_152;

/** After a reply that was refused, the next attempt waits this long, doubled each time up to the longest, ms. */
const SHORTEST_PENALTY_MS = 1_000;
const LONGEST_PENALTY_MS = 60_000;
/** One that behaved for so long begins anew, ms. */
const FORGIVEN_MS = 300_000;

/** What ioredis keeps to itself. */
interface Inside {
  readonly connector: {
    connect(emit: unknown): Promise<Duplex>;
  };
  readonly commandQueue: { peekAt(index: number): { readonly command: SentCommand } | undefined };
  flushQueue(error: Error, options: { offlineQueue: boolean }): void;
  sendCommand(command: SentCommand, stream?: unknown): unknown;
}

interface SentCommand {
  readonly name: string;
  readonly args: readonly unknown[];
  readonly promise: Promise<unknown>;
  reject(error: Error): void;
}

/**
 * Guards a client that has not connected yet (`lazyConnect`, `protocol: 2`). With `allowed`, it sends these commands, in lower
 * case, and no others.
 */
export function guardReplies(redis: Redis, allowed?: ReadonlySet<string>): void {
  const inside = redis as unknown as Inside;
  const { connector } = inside;
  const connect = connector.connect.bind(connector);
  const punish = penalties(redis);
  connector.connect = async (emit) => {
    const stream = await connect(emit);
    guardStream(stream, inside, punish);
    return stream;
  };
  if (!allowed) return;
  const send = inside.sendCommand.bind(redis);
  inside.sendCommand = (command, stream) => {
    if (allowed.has(command.name.toLowerCase())) return send(command, stream);
    command.reject(new TypeError(`${command.name} may return anything of any size: read it with readCut`));
    // a pipeline that lacks a command has lost count of its replies
    if (stream) renewConnection(redis);
    return command.promise;
  };
}

/** Each further refusal costs a longer wait before the next attempt. */
function penalties(redis: Redis): () => void {
  const { options } = redis;
  const { retryStrategy } = options;
  let penaltyMs = 0;
  let refusedAt = -Infinity;
  let due = false;
  if (retryStrategy)
    options.retryStrategy = (attempt) => {
      const waitMs = retryStrategy(attempt);
      if (!due || typeof waitMs !== 'number') return waitMs;
      due = false;
      return Math.max(waitMs, penaltyMs);
    };
  return () => {
    const now = performance.now();
    if (now - refusedAt > FORGIVEN_MS) penaltyMs = 0;
    refusedAt = now;
    penaltyMs = Math.min(LONGEST_PENALTY_MS, Math.max(SHORTEST_PENALTY_MS, 2 * penaltyMs));
    due = true;
  };
}

function guardStream(stream: Duplex, redis: Inside, punish: () => void): void {
  let refused = false;
  /** What the decoder is not to see before the rest of it is there. */
  let held = Buffer.alloc(0);
  const accept = acceptance(redis);
  const scan = createReplyScanner({
    limits: () => accept.limits(),
    onFrame: (frame) => accept.frame(frame),
  });
  const throttle = createThrottle(stream);
  const push = stream.push.bind(stream);
  stream.push = (chunk: Buffer | null, ...rest): boolean => {
    if (refused && chunk !== null) return false;
    if (chunk === null) return push(chunk, ...rest);
    accept.begin();
    try {
      scan(chunk);
    } catch (error) {
      refused = true;
      punish();
      redis.flushQueue(error as Error, { offlineQueue: false });
      stream.destroy(error as Error);
      return false;
    }
    if (accept.subscribed()) throttle(chunk.length);
    const whole = held.length > 0 ? Buffer.concat([held, chunk]) : chunk;
    const end = whole.length - scan.unfinished();
    held = Buffer.from(whole.subarray(end));
    return end === 0 || push(whole.subarray(0, end), ...rest);
  };
}

/** Lets a socket rest for as long as it has had too much. */
function createThrottle(stream: Duplex): (bytes: number) => void {
  let credit = MESSAGES_AT_ONCE;
  let at = performance.now();
  return (bytes) => {
    const now = performance.now();
    credit = Math.min(MESSAGES_AT_ONCE, credit + ((now - at) / 1e3) * MESSAGES_PER_S) - bytes;
    at = now;
    if (credit >= 0) return;
    stream.pause();
    timeout((-credit / MESSAGES_PER_S) * 1e3, () => stream.resume()).unref();
  };
}

/** Whether a reply is one that ioredis can take, given what it waits for. `frame` throws `ReplyRefused` for all others. */
function acceptance(redis: Inside): {
  begin(): void;
  limits(): typeof replyLimits;
  frame(frame: ReplyFrame): void;
  subscribed(): boolean;
} {
  let subscribed = false;
  /** Replies in the bytes that are being looked at: what they answer is still in the queue. */
  let answered = 0;
  const next = (): SentCommand | undefined => redis.commandQueue.peekAt(answered)?.command;
  const odd = (what: string): never => {
    throw new ReplyRefused('Malformed', what);
  };
  return {
    begin: () => void (answered = 0),
    subscribed: () => subscribed,
    limits: () => {
      const { name, args: [first] = [] } = next() ?? {};
      if (name === 'blmove') return { ...replyLimits, bytes: PEEK_BYTES };
      const isList = name === 'client' && String(first).toUpperCase() === 'LIST';
      return isList ? { ...replyLimits, bytes: CLIENT_LIST_BYTES } : replyLimits;
    },
    frame: (frame) => {
      if (subscribed && isMessage(frame)) return;
      const command = next() ?? odd('a reply came that nothing was asked for');
      answered++;
      const name = command.name.toLowerCase();
      if (frame.type === 'error') return;
      if (name === 'subscribe' || name === 'unsubscribe') {
        if (!isSubscription(frame, name)) odd(`the reply to ${name.toUpperCase()} is none`);
        subscribed = name === 'subscribe' || frame.parts[2]?.value !== 0;
      } else if (subscribed && frame.type === 'array' && frame.parts[0]?.text !== 'pong')
        odd('a message came that is none');
      else if (name === 'info' && (frame.type !== 'bulk' || frame.nil)) odd('the reply to INFO is no text');
    },
  };
}

function isMessage({ type, length, parts: [kind, channel] }: ReplyFrame): boolean {
  return (
    type === 'array' && length === 3 && kind?.text === 'message' && channel?.type === 'bulk' && !channel.nil
  );
}

function isSubscription({ type, length, parts: [kind, channel, count] }: ReplyFrame, name: string): boolean {
  return (
    type === 'array' &&
    length === 3 &&
    kind?.text === name &&
    channel?.type === 'bulk' &&
    (name === 'unsubscribe' || !channel.nil) &&
    count?.type === 'integer'
  );
}

/**
 * Sits between the socket and ioredis, measures each reply before it is decoded (reply-scanner.ts), and refuses what would
 * make ioredis throw inside a data handler: a reply to no request, a message without a channel. A server that breaks the rules
 * loses the connection, its pending commands are rejected with `ReplyRefused`, and reconnecting slows down each time.
 *
 * The guard replaces the socket's `push`, through which every byte passes that is read. `test/redis/untrusted.test.ts` fails when
 * ioredis or Node change that.
 */
import type { Duplex } from 'node:stream';
import type { Redis } from 'ioredis';
import { timeout } from '../../runtime/timers.ts';
import { renewConnection } from './close.ts';
import { createReplyScanner, replyLimits, ReplyRefused, type ReplyFrame } from './reply-scanner.ts';

/** One line per connection: its size depends on the installation and on the names of clients. */
const CLIENT_LIST_BYTES = 8 * 1_048_576;
/** A peek at a queue returns a whole task, of which only the existence matters. */
const PEEK_BYTES = 4_096;

/** Rate limit for pushed messages, bytes per second and burst: what exceeds it waits in the socket. */
const MESSAGES_PER_S = 1_048_576;
const MESSAGES_BURST = 2_097_152;

/** Delay of the next attempt after a refused reply, doubled each time up to the longest, ms. */
const SHORTEST_PENALTY_MS = 1_000;
const LONGEST_PENALTY_MS = 60_000;
/** After this long without a refusal the delay starts over, ms. */
const FORGIVEN_MS = 300_000;

/** Private parts of ioredis. */
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
    // a pipeline with a missing command would miscount its replies
    if (stream) renewConnection(redis);
    return command.promise;
  };
}

/** Each further refusal lengthens the delay before the next attempt. */
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
  /** Bytes withheld from the decoder until the rest has arrived. */
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

/** Pauses a socket in proportion to the bytes over the limit. */
function createThrottle(stream: Duplex): (bytes: number) => void {
  let credit = MESSAGES_BURST;
  let at = performance.now();
  return (bytes) => {
    const now = performance.now();
    credit = Math.min(MESSAGES_BURST, credit + ((now - at) / 1e3) * MESSAGES_PER_S) - bytes;
    at = now;
    if (credit >= 0) return;
    stream.pause();
    timeout((-credit / MESSAGES_PER_S) * 1e3, () => stream.resume()).unref();
  };
}

/** Checks that ioredis can handle a reply, given its pending commands. `frame` throws `ReplyRefused` for all others. */
function acceptance(redis: Inside): {
  begin(): void;
  limits(): typeof replyLimits;
  frame(frame: ReplyFrame): void;
  subscribed(): boolean;
} {
  let subscribed = false;
  /** Replies in the bytes being scanned: their commands are still in the queue. */
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
      const command = next() ?? odd('it sent a reply without a request');
      answered++;
      const name = command.name.toLowerCase();
      if (frame.type === 'error') return;
      if (name === 'subscribe' || name === 'unsubscribe') {
        if (!isSubscription(frame, name)) odd(`the reply to ${name.toUpperCase()} is malformed`);
        subscribed = name === 'subscribe' || frame.parts[2]?.value !== 0;
      } else if (subscribed && frame.type === 'array' && frame.parts[0]?.text !== 'pong')
        odd('it sent a malformed message');
      else if (name === 'info' && (frame.type !== 'bulk' || frame.nil)) odd('the reply to INFO is not text');
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

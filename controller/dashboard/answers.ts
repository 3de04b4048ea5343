/**
 * The dashboard's API for the pools that it shows: snapshots, events, and actions for visitors who may act. One instance lives as
 * long as its pools are shown. Visitors who see the same namespaces share one list.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { within } from '../../queue/connection/connection.ts';
import type { Logger } from '../../runtime/log.ts';
import { readJson, sendJson } from '../../runtime/replies.ts';
import type { Observation } from '../observe/observation.ts';
import { parseAction, runAction } from './actions.ts';
import type { About, ActionDone, Refusal } from './api.ts';
import { createBoard, type PoolSource } from './board.ts';
import { createBrowsers, endWhenRightsChange, type Browsers } from './channels/browsers.ts';
import type { Channel } from './channels/channel.ts';
import {
  createChannels,
  visibleKey,
  poolNamespace,
  type Channels,
  type Visible,
} from './channels/channels.ts';
import { sendEvents } from './channels/sse.ts';
import { createBatchReader, type BatchReader } from './read/batches.ts';
import { createDetailsReader, type DetailsReader } from './read/details.ts';
import type { Visitor } from './gate.ts';
import { createPastReader, isPastRange, type PastReader } from './read/past.ts';

export interface DashboardApiOptions {
  readonly source: PoolSource;
  readonly about: About;
  readonly log: Logger;
  readonly now: () => number;
}

export interface DashboardApi {
  observed(key: string, observation: Observation): void;
  /** Answers a request of `visitor` for `path`, the part after `api/`. */
  answer(request: IncomingMessage, response: ServerResponse, path: string, visitor: Visitor): Promise<void>;
  /** Disconnects all browsers. */
  stop(): void;
}

const MOST_BODY = 64 * 1_024;
const ACTION_TIMEOUT_MS = 10_000;

/** What all requests share. */
interface Shown extends Omit<DashboardApiOptions, 'about' | 'now'> {
  readonly channels: Channels;
  readonly browsers: Browsers;
  readonly details: DetailsReader;
  readonly batches: BatchReader;
  readonly past: PastReader;
}

/** A request of a visitor. */
interface Asked {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  readonly visitor: Visitor;
}

export function createDashboardApi({ source, about, log, now }: DashboardApiOptions): DashboardApi {
  const board = createBoard(source, about.showTasks);
  const details = createDetailsReader(about.showTasks);
  const batches = createBatchReader(about.showTasks);
  const channels = createChannels({ board, details, batches, about, now });
  const browsers = createBrowsers();
  const shown: Shown = {
    source,
    log,
    channels,
    browsers,
    details,
    batches,
    past: createPastReader(source, now),
  };
  return {
    observed: (key, observation) => board.observed(key, observation),
    answer: (request, response, path, visitor) => answer(shown, { request, response, visitor }, path),
    stop: () => {
      channels.stop();
      browsers.stop();
    },
  };
}

/** Answers with an error. */
export function refuse(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  error: string,
  signIn?: true,
): Promise<void> {
  return sendJson(request, response, status, { error, ...(signIn && { signIn }) } satisfies Refusal);
}

const refuseAsked = ({ request, response }: Asked, status: number, error: string): Promise<void> =>
  refuse(request, response, status, error);

async function seenBy(visitor: Visitor, source: PoolSource): Promise<Visible> {
  return await visitor.sees([...source.pools.keys()].map(poolNamespace));
}

async function sees(visitor: Visitor, key: string): Promise<boolean> {
  const namespace = poolNamespace(key);
  const some = await visitor.sees([namespace]);
  return some === 'all' || some.has(namespace);
}

async function answer(shown: Shown, asked: Asked, path: string): Promise<void> {
  const { request, response, visitor } = asked;
  const { source, channels } = shown;
  const { searchParams: query } = new URL(request.url ?? '/', 'http://here');
  if (path === 'pools')
    return sendJson(request, response, 200, await channels.overview(await seenBy(visitor, source)).whole());
  if (path === 'events') return await answerEvents(shown, asked, query);
  const [, key = '', part] = /^pools\/([^/]+\/[^/]+?)(?:\/(actions|past))?$/.exec(path) ?? [];
  // a pool that the visitor may not see does not exist for them
  if (key === '' || !(await sees(visitor, key)) || !source.pools.has(key))
    return refuseAsked(asked, 404, `there is no ${key === '' ? path : `pool ${key}`} here`);
  if (part === 'actions') return answerAction(shown, asked, key);
  if (part === 'past') return answerPast(shown, asked, key, query.get('range'));
  const whole = await channels.page(key).whole();
  if (!whole) return refuseAsked(asked, 404, `there is no pool ${key}`);
  return sendJson(request, response, 200, whole);
}

/** The changes of one pool, or of the list, for as long as the browser listens and may see the same. */
async function answerEvents(shown: Shown, asked: Asked, query: URLSearchParams): Promise<void> {
  const { source, channels } = shown;
  const { visitor } = asked;
  const since = query.get('since') ?? undefined;
  const wanted = query.get('pool');
  if (wanted === null) {
    const visible = await seenBy(visitor, source);
    const holds = async (): Promise<boolean> =>
      visibleKey(await seenBy(visitor, source)) === visibleKey(visible);
    return listen(shown, asked, { channel: channels.overview(visible), since, holds });
  }
  if (!(await sees(visitor, wanted)) || !source.pools.has(wanted))
    return refuseAsked(asked, 404, `there is no pool ${wanted}`);
  const holds = (): Promise<boolean> => sees(visitor, wanted);
  return listen(shown, asked, { channel: channels.page(wanted), since, holds });
}

interface Listening {
  readonly channel: Channel;
  /** Of the state that the browser has. */
  readonly since: string | undefined;
  /** Whether the visitor may still see the channel. */
  readonly holds: () => Promise<boolean>;
}

async function listen(
  { browsers }: Shown,
  asked: Asked,
  { channel, since, holds }: Listening,
): Promise<void> {
  const { request, response } = asked;
  if (!browsers.add(request, response))
    return refuseAsked(asked, 503, `${browsers.size} browsers are connected already: close one`);
  endWhenRightsChange(response, holds);
  const last = request.headers['last-event-id'];
  return sendEvents(channel, typeof last === 'string' && last !== '' ? last : since, response);
}

async function answerPast(
  { past, log }: Shown,
  asked: Asked,
  key: string,
  range: string | null,
): Promise<void> {
  if (!isPastRange(range)) return refuseAsked(asked, 400, 'range must be one of 6h, 24h, 7d');
  try {
    return await sendJson(asked.request, asked.response, 200, await past.read(key, range));
  } catch (error) {
    log.debug({ pool: key, err: error }, 'a timeline could not be read');
    return refuseAsked(asked, 503, (error as Error).message);
  }
}

async function answerAction(
  { source, details, batches, log }: Shown,
  asked: Asked,
  key: string,
): Promise<void> {
  const { request, response, visitor } = asked;
  const denied = await visitor.refusesAction(poolNamespace(key));
  if (denied) return refuseAsked(asked, denied.status, denied.error);
  const action = parseAction(await readJson(request, MOST_BODY));
  if (!action)
    return refuseAsked(
      asked,
      400,
      'the body is not an action: send {"do": "requeue" | "drop" | "cancel-batch" | "pause" | "resume", …}',
    );
  if (source.pools.get(key)?.spec.source)
    return refuseAsked(asked, 409, 'the tasks of this pool are those of another library: use its tools');
  const link = source.queuesOf(key);
  if (!link || source.sampled(key)?.kind !== 'known')
    return refuseAsked(asked, 503, "the pool's Redis cannot be reached: try again when it can");
  const count = await within(
    ACTION_TIMEOUT_MS,
    runAction(action, link.redisOf, link.queues, { details, batches }),
    'the action',
  );
  log.info({ pool: key, action: action.do, count, by: visitor.name }, 'dashboard action done');
  return sendJson(request, response, 200, { count } satisfies ActionDone);
}

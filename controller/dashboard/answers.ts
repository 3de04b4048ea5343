/**
 * What the dashboard answers about the pools that it shows: wholes, events, and actions for those who have the token. It
 * lasts as long as its pools are shown.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import { within } from '../../queue/connection.ts';
import type { Logger } from '../../runtime/log.ts';
import { readJson, sendJson } from '../../runtime/replies.ts';
import type { Observation } from '../observation.ts';
import { act, parseAction } from './actions.ts';
import type { About, ActionDone, Refusal } from './api.ts';
import { createBoard, type PoolSource } from './board.ts';
import { createDetailsReader } from './details.ts';
import { createOverview } from './overview.ts';
import { createPastReader, isPastRange } from './past.ts';
import { createPoolChannel, type PoolChannel } from './pool-page.ts';
import { sendEvents } from './sse.ts';
import { isAllowed, type TokenSource } from './token.ts';

export interface AnswersOptions {
  readonly source: PoolSource;
  readonly about: About;
  readonly token: TokenSource | undefined;
  readonly log: Logger;
  readonly now: () => number;
}

export interface Answers {
  observed(key: string, observation: Observation): void;
  /** Answers a request for `path`, which is what stands behind `api/`. */
  answer(request: IncomingMessage, response: ServerResponse, path: string): Promise<void>;
  /** Cuts off all who listen. */
  stop(): void;
}

const MOST_BROWSERS = 256;
const MOST_BODY = 64 * 1_024;
const ACTION_MS = 10_000;

/** Answers that something is not to be had. */
export function refuse(
  request: IncomingMessage,
  response: ServerResponse,
  status: number,
  error: string,
): Promise<void> {
  return sendJson(request, response, status, { error } satisfies Refusal);
}

export function createAnswers({ source, about, token, log, now }: AnswersOptions): Answers {
  const board = createBoard(source, about.showTasks);
  const details = createDetailsReader(about.showTasks);
  const past = createPastReader(source, now);
  const overview = createOverview(board, about, now);
  const pages = new Map<string, PoolChannel>();
  const browsers = new Set<ServerResponse>();

  function pageOf(key: string): PoolChannel | undefined {
    if (!source.pools.has(key)) return undefined;
    const known = pages.get(key);
    if (known) return known;
    const onIdle = (): void => void pages.delete(key);
    const made = createPoolChannel({ key, board, details, about, now, onIdle });
    pages.set(key, made);
    return made;
  }

  async function answer(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    const { searchParams: query } = new URL(request.url ?? '/', 'http://here');
    if (path === 'pools') return sendJson(request, response, 200, await overview.whole());
    if (path === 'events') {
      const wanted = query.get('pool');
      const channel = wanted === null ? overview : pageOf(wanted);
      if (!channel) return refuse(request, response, 404, `there is no pool ${wanted}`);
      if (browsers.size >= MOST_BROWSERS)
        return refuse(request, response, 503, `${MOST_BROWSERS} browsers look already: close one`);
      browsers.add(response);
      response.once('close', () => browsers.delete(response));
      const last = request.headers['last-event-id'];
      const since = typeof last === 'string' && last !== '' ? last : (query.get('since') ?? undefined);
      return sendEvents(channel, since, response);
    }
    const [, key = '', part] = /^pools\/([^/]+\/[^/]+?)(?:\/(actions|past))?$/.exec(path) ?? [];
    const page = pageOf(key);
    if (!page) return refuse(request, response, 404, `there is no ${key === '' ? path : `pool ${key}`} here`);
    if (part === 'actions') return perform(request, response, key);
    if (part === 'past') return remember(request, response, key, query.get('range'));
    const whole = await page.whole();
    if (!whole) return refuse(request, response, 404, `there is no pool ${key}`);
    return sendJson(request, response, 200, whole);
  }

  async function remember(
    request: IncomingMessage,
    response: ServerResponse,
    key: string,
    range: string | null,
  ): Promise<void> {
    if (!isPastRange(range)) return refuse(request, response, 400, 'range is none of 6h, 24h, 7d');
    try {
      return await sendJson(request, response, 200, await past.read(key, range));
    } catch (error) {
      return refuse(request, response, 503, (error as Error).message);
    }
  }

  async function perform(request: IncomingMessage, response: ServerResponse, key: string): Promise<void> {
    if (token === undefined)
      return refuse(request, response, 403, 'this dashboard is read-only: it was started without a token');
    if (!isAllowed(request.headers.authorization, await token()))
      return refuse(request, response, 401, 'this is not the token');
    const action = parseAction(await readJson(request, MOST_BODY));
    if (!action) return refuse(request, response, 400, 'this is no action');
    const link = source.queuesOf(key);
    if (!link || source.sampled(key)?.kind !== 'known')
      return refuse(request, response, 503, "the pool's Redis cannot be reached: try again when it can");
    const count = await within(ACTION_MS, act(action, link.redis, link.queues, details), 'the action');
    log.info({ pool: key, action: action.do, count }, 'done from the dashboard');
    return sendJson(request, response, 200, { count } satisfies ActionDone);
  }

  return {
    observed: (key, observation) => board.observed(key, observation),
    answer,
    stop: () => {
      overview.stop();
      for (const page of pages.values()) page.stop();
      for (const browser of browsers) browser.destroy();
    },
  };
}

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
import { createDetailsReader } from './details.ts';
import { interval } from '../../runtime/timers.ts';
import type { Denied, Visitor } from './gate.ts';
import { createOverview, type OverviewChannel } from './overview.ts';
import { createPastReader, isPastRange } from './past.ts';
import { createPoolChannel, type PoolChannel } from './pool-page.ts';
import { sendEvents } from './sse.ts';

export interface AnswersOptions {
  readonly source: PoolSource;
  readonly about: About;
  readonly log: Logger;
  readonly now: () => number;
}

export interface Answers {
  observed(key: string, observation: Observation): void;
  /** Answers a request of `visitor` for `path`, the part after `api/`. */
  answer(request: IncomingMessage, response: ServerResponse, path: string, visitor: Visitor): Promise<void>;
  /** Disconnects all browsers. */
  stop(): void;
}

const MOST_BROWSERS = 256;
/** So that one address cannot take all places; many browsers may come through one proxy. */
const MOST_AT_AN_ADDRESS = 128;
const MOST_BODY = 64 * 1_024;
const ACTION_TIMEOUT_MS = 10_000;
/** A visitor's rights can change while they watch. */
const RECHECK_MS = 30_000;

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

const namespaceOf = (key: string): string => key.slice(0, key.indexOf('/'));

export function createAnswers({ source, about, log, now }: AnswersOptions): Answers {
  const board = createBoard(source, about.showTasks);
  const details = createDetailsReader(about.showTasks);
  const past = createPastReader(source, now);
  /** By the namespaces shown. */
  const overviews = new Map<string, OverviewChannel>();
  const pages = new Map<string, PoolChannel>();
  /** Connected browsers, and their addresses. */
  const browsers = new Map<ServerResponse, string | undefined>();

  async function seen(visitor: Visitor): Promise<'all' | ReadonlySet<string>> {
    return await visitor.sees([...source.pools.keys()].map(namespaceOf));
  }

  async function sees(visitor: Visitor, key: string): Promise<boolean> {
    const namespace = namespaceOf(key);
    const some = await visitor.sees([namespace]);
    return some === 'all' || some.has(namespace);
  }

  function overviewOf(visible: 'all' | ReadonlySet<string>): OverviewChannel {
    const name = nameOf(visible);
    const known = overviews.get(name);
    if (known) return known;
    const onIdle = (): void => void overviews.delete(name);
    const shows = visible === 'all' ? {} : { shows: (key: string) => visible.has(namespaceOf(key)) };
    const made = createOverview({ board, about, now, ...shows, onIdle });
    overviews.set(name, made);
    return made;
  }

  /** Ends `response` once its reader's rights have changed, to less or to more than it shows. */
  function recheck(response: ServerResponse, holds: () => Promise<boolean>): void {
    const again = interval(RECHECK_MS, () => {
      holds().then(
        (same) => same || response.destroy(),
        // if the rights cannot be checked now, they are checked again later
        () => undefined,
      );
    }).unref();
    response.once('close', () => again.clear());
  }

  function pageOf(key: string): PoolChannel | undefined {
    if (!source.pools.has(key)) return undefined;
    const known = pages.get(key);
    if (known) return known;
    const onIdle = (): void => void pages.delete(key);
    const made = createPoolChannel({ key, board, details, about, now, onIdle });
    pages.set(key, made);
    return made;
  }

  async function answer(
    request: IncomingMessage,
    response: ServerResponse,
    path: string,
    visitor: Visitor,
  ): Promise<void> {
    const { searchParams: query } = new URL(request.url ?? '/', 'http://here');
    if (path === 'pools')
      return sendJson(request, response, 200, await overviewOf(await seen(visitor)).whole());
    if (path === 'events') {
      const wanted = query.get('pool');
      const visible = wanted === null ? await seen(visitor) : undefined;
      const channel =
        visible !== undefined
          ? overviewOf(visible)
          : wanted !== null && (await sees(visitor, wanted))
            ? pageOf(wanted)
            : undefined;
      if (!channel) return refuse(request, response, 404, `there is no pool ${wanted}`);
      recheck(response, async () =>
        visible === undefined
          ? await sees(visitor, wanted ?? '')
          : nameOf(await seen(visitor)) === nameOf(visible),
      );
      const { remoteAddress } = request.socket;
      const same = [...browsers.values()].filter((address) => address === remoteAddress).length;
      if (browsers.size >= MOST_BROWSERS || same >= MOST_AT_AN_ADDRESS)
        return refuse(request, response, 503, `${browsers.size} browsers are connected already: close one`);
      browsers.set(response, remoteAddress);
      response.once('close', () => browsers.delete(response));
      const last = request.headers['last-event-id'];
      const since = typeof last === 'string' && last !== '' ? last : (query.get('since') ?? undefined);
      return sendEvents(channel, since, response);
    }
    const [, key = '', part] = /^pools\/([^/]+\/[^/]+?)(?:\/(actions|past))?$/.exec(path) ?? [];
    // a pool that the visitor may not see does not exist for them
    const page = key !== '' && (await sees(visitor, key)) ? pageOf(key) : undefined;
    if (!page) return refuse(request, response, 404, `there is no ${key === '' ? path : `pool ${key}`} here`);
    if (part === 'actions') return perform(request, response, key, visitor);
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
    if (!isPastRange(range)) return refuse(request, response, 400, 'range must be one of 6h, 24h, 7d');
    try {
      return await sendJson(request, response, 200, await past.read(key, range));
    } catch (error) {
      return refuse(request, response, 503, (error as Error).message);
    }
  }

  async function perform(
    request: IncomingMessage,
    response: ServerResponse,
    key: string,
    visitor: Visitor,
  ): Promise<void> {
    const refused: Denied | undefined = await visitor.refusesAction(namespaceOf(key));
    if (refused) return refuse(request, response, refused.status, refused.error);
    const action = parseAction(await readJson(request, MOST_BODY));
    if (!action)
      return refuse(
        request,
        response,
        400,
        'the body is not an action: send {"do": "requeue" | "drop" | "pause" | "resume", …}',
      );
    if (source.pools.get(key)?.spec.source)
      return refuse(
        request,
        response,
        409,
        'the tasks of this pool are those of another library: use its tools',
      );
    const link = source.queuesOf(key);
    if (!link || source.sampled(key)?.kind !== 'known')
      return refuse(request, response, 503, "the pool's Redis cannot be reached: try again when it can");
    const count = await within(
      ACTION_TIMEOUT_MS,
      runAction(action, link.redisOf, link.queues, details),
      'the action',
    );
    log.info({ pool: key, action: action.do, count, by: visitor.name }, 'dashboard action done');
    return sendJson(request, response, 200, { count } satisfies ActionDone);
  }

  return {
    observed: (key, observation) => board.observed(key, observation),
    answer,
    stop: () => {
      for (const overview of overviews.values()) overview.stop();
      for (const page of pages.values()) page.stop();
      for (const browser of browsers.keys()) browser.destroy();
    },
  };
}

function nameOf(visible: 'all' | ReadonlySet<string>): string {
  return visible === 'all' ? 'all' : `some:${[...visible].toSorted().join(' ')}`;
}

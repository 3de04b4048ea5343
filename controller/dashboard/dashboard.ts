/**
 * `controller/dashboard/` takes observations and requests and returns pages, data and events. It imports the stages that it
 * shows; none of them knows that there is a dashboard.
 *
 * The dashboard: a page, the data behind it, and the actions, all under `/dashboard/` of the process's
 * HTTP server. It shows the pools that it is attached to: those of a controller while that leads, or of `millrace dev`. While
 * detached, it forwards requests for data to the leader.
 *
 * The gate decides who may see and do what (gate.ts). A token comes as a header, which no other site's page can make a
 * browser send. What is shown is no task, no id and no secret, unless `showTasks` says so.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { HttpRoute } from '../../runtime/http.ts';
import type { Logger } from '../../runtime/log.ts';
import { createStaticFiles } from '../../runtime/static-files.ts';
import type { Observation } from '../observe/observation.ts';
import { createDashboardApi, refuse, type DashboardApi } from './answers.ts';
import type { About } from './api.ts';
import { loadAssets } from './assets.ts';
import type { PoolSource } from './board.ts';
import { forward, type Leader } from './forward.ts';
import { isDenied, type Gate } from './gate.ts';

export interface DashboardOptions {
  readonly version: string;
  readonly host: About['host'];
  readonly showTasks: boolean;
  readonly gate: Gate;
  /** Names by which a browser may call this server, without ports; with `*`, or where there is no list, any. */
  readonly hostnames?: readonly string[];
  /** The process that leads, where that is another one. */
  readonly leader?: () => Leader | undefined;
  readonly log: Logger;
  readonly now: () => number;
}

export interface Dashboard {
  readonly route: HttpRoute;
  /** Shows these pools until it is disposed. */
  attach(source: PoolSource): Attached;
}

export interface Attached extends Disposable {
  observed(key: string, observation: Observation): void;
}

const ROOT = '/dashboard/';

/** Nothing from elsewhere, nothing inline, and in nobody's frame. */
const PAGE_HEADERS = {
  'content-security-policy':
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; " +
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
  'x-content-type-options': 'nosniff',
  'x-frame-options': 'DENY',
  'referrer-policy': 'no-referrer',
  'cross-origin-opener-policy': 'same-origin',
};

export function createDashboard(options: DashboardOptions): Dashboard {
  const { version, host, showTasks, gate, log, now } = options;
  const about: About = { version, host, showTasks, actions: gate.actions };
  const files = createStaticFiles(loadAssets);
  let serving: DashboardApi | undefined;

  /** Data by GET, actions by POST. */
  function data(request: IncomingMessage, response: ServerResponse, path: string): void {
    const reading = request.method === 'GET' || request.method === 'HEAD';
    if (reading === path.endsWith('/actions') || (!reading && request.method !== 'POST'))
      return void refuse(request, response, 405, `${request.method} is not allowed for ${path}`);
    admit(request, response, path).catch((error: unknown) => {
      log.warn({ path, err: error }, 'dashboard request failed');
      if (response.headersSent) response.destroy();
      else void refuse(request, response, 500, (error as Error).message);
    });
  }

  /** A standby checks the token, too, so that a wrong one is refused, and counted, where it arrives. */
  async function admit(request: IncomingMessage, response: ServerResponse, path: string): Promise<void> {
    const visitor = await gate.admit(request);
    if (isDenied(visitor))
      return await refuse(request, response, visitor.status, visitor.error, visitor.signIn);
    if (serving) await serving.answer(request, response, path, visitor);
    else forward(request, response, options.leader?.());
  }

  function page(request: IncomingMessage, response: ServerResponse, name: string): void {
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return void refuse(request, response, 405, 'the page can only be read');
    files
      .serve(request, response, name === '' ? 'index.html' : name, PAGE_HEADERS)
      .catch((error: unknown) => {
        log.error({ err: error }, 'the dashboard cannot be served');
        void refuse(request, response, 500, `the page cannot be loaded: ${(error as Error).message}`);
      });
  }

  /** A page elsewhere whose name was made to lead here must not read what is here. */
  function isCalledRight({ headers }: IncomingMessage): boolean {
    const { hostnames } = options;
    const called = (headers.host ?? '').replace(/:\d+$/, '').toLowerCase();
    if (!hostnames || hostnames.includes('*') || hostnames.includes(called)) return true;
    // the API server's proxy hands on its own name; here that shows nobody a thing without a token
    return gate.actions === 'rights' && headers['x-forwarded-uri'] !== undefined;
  }

  return {
    route: (request, response, path) => {
      if (path !== '/' && !`${path}/`.startsWith(ROOT)) return false;
      if (!isCalledRight(request)) void refuse(request, response, 421, 'this server has another name');
      // relative, and so right behind a prefix, too
      else if (path === '/' || !path.startsWith(ROOT))
        response.writeHead(302, { location: 'dashboard/', 'content-length': 0 }).end();
      else if (path.startsWith(`${ROOT}api/`))
        data(request, response, decode(path.slice(ROOT.length + 'api/'.length)));
      else page(request, response, path.slice(ROOT.length));
      return true;
    },
    attach: (source) => {
      serving?.stop();
      const mine = createDashboardApi({ source, about, log, now });
      serving = mine;
      return {
        observed: (key, observation) => mine.observed(key, observation),
        [Symbol.dispose]: () => {
          mine.stop();
          if (serving === mine) serving = undefined;
        },
      };
    },
  };
}

function decode(path: string): string {
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}

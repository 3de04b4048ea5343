/**
 * The dashboard: a page, the data behind it, and what can be done with a token, all under `/dashboard/` of the process's
 * HTTP server. It looks at what it is attached to: the pools of a controller while that leads, or of `millrace dev`. While
 * it is attached to nothing, requests for data go to the leader.
 *
 * Nobody is asked who they are to look: whoever reaches the port sees what is shown, which is no task, no id and no secret
 * unless `showTasks` says so. To act takes the token, as a header, which no other site's page can make a browser send.
 */
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Route } from '../../runtime/http.ts';
import type { Logger } from '../../runtime/log.ts';
import { createStaticFiles } from '../../runtime/static-files.ts';
import type { Observation } from '../observation.ts';
import { createAnswers, refuse, type Answers } from './answers.ts';
import type { About } from './api.ts';
import { loadAssets } from './assets.ts';
import type { PoolSource } from './board.ts';
import { forward } from './forward.ts';
import type { TokenSource } from './token.ts';

export interface DashboardOptions {
  readonly version: string;
  readonly host: About['host'];
  readonly showTasks: boolean;
  /** Without one, nobody can act. */
  readonly token: TokenSource | undefined;
  /** Names by which a browser may call this server, without ports; any, where they are not known. */
  readonly hostnames?: readonly string[];
  /** `http://host:port` of the process that leads, where that is another one. */
  readonly leader?: () => string | undefined;
  readonly log: Logger;
  readonly now: () => number;
}

export interface Dashboard {
  readonly route: Route;
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
  const { version, host, showTasks, token, log, now } = options;
  const about: About = { version, host, showTasks, actions: token === undefined ? 'none' : 'token' };
  const files = createStaticFiles(loadAssets);
  let serving: Answers | undefined;

  /** What may be asked: data by reading, actions by posting. */
  function data(request: IncomingMessage, response: ServerResponse, path: string): void {
    const reading = request.method === 'GET' || request.method === 'HEAD';
    if (reading === path.endsWith('/actions') || (!reading && request.method !== 'POST'))
      return void refuse(request, response, 405, `${request.method} is not for ${path}`);
    if (!serving) return forward(request, response, options.leader?.());
    serving.answer(request, response, path).catch((error: unknown) => {
      log.warn({ path, error: (error as Error).message }, 'the dashboard could not answer');
      if (response.headersSent) response.destroy();
      else void refuse(request, response, 500, (error as Error).message);
    });
  }

  function page(request: IncomingMessage, response: ServerResponse, name: string): void {
    if (request.method !== 'GET' && request.method !== 'HEAD')
      return void refuse(request, response, 405, 'the page can only be read');
    files
      .serve(request, response, name === '' ? 'index.html' : name, PAGE_HEADERS)
      .catch((error: unknown) => {
        log.error({ error: (error as Error).message }, 'the dashboard cannot be served');
        void refuse(request, response, 500, `the page is not there: ${(error as Error).message}`);
      });
  }

  /** A page elsewhere whose name was made to lead here must not read what is here. */
  function isCalledRight({ headers }: IncomingMessage): boolean {
    const called = (headers.host ?? '').replace(/:\d+$/, '').toLowerCase();
    return options.hostnames?.includes(called) ?? true;
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
      const mine = createAnswers({ source, about, token, log, now });
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

/**
 * Who may see and do what on the dashboard. One of three: by the visitor's rights in Kubernetes, identified by a Kubernetes
 * token; everyone may see and one token allows actions (`millrace dev`, and older installations); or everyone may see and nobody
 * may act.
 */
import type { IncomingMessage } from 'node:http';
import type { Rights } from '../../kube/rights.ts';
import type { About } from './api.ts';
import { isToken, shownToken, type TokenSource } from './token.ts';
import type { Strikes } from './strikes.ts';

export interface Gate {
  readonly actions: About['actions'];
  /** Rejects if the rights cannot be checked now. */
  admit(request: IncomingMessage): Promise<Visitor | Denied>;
}

export interface Denied {
  readonly status: 401 | 403 | 429;
  readonly error: string;
  /** The page must ask for a token. */
  readonly signIn?: true;
}

export interface Visitor {
  /** For the log. */
  readonly name: string;
  /** Which of these namespaces they may see. */
  sees(namespaces: Iterable<string>): Promise<'all' | ReadonlySet<string>>;
  /** Why they may not act on pools there; `undefined` where they may. */
  refusesAction(namespace: string): Promise<Denied | undefined>;
}

export const isDenied = (answer: Visitor | Denied): answer is Denied => 'status' in answer;

const READ_ONLY: Denied = {
  status: 403,
  error: 'this dashboard is read-only: it was started without a token',
};
const TOO_MANY: Denied = {
  status: 429,
  error: 'too many wrong tokens came from your address: wait for a minute',
};

/** Without `token`, nobody may act. */
export function openGate(token: TokenSource | undefined, strikes: Strikes): Gate {
  return {
    actions: token === undefined ? 'none' : 'token',
    admit: async (request) => ({
      name: 'a holder of the token',
      sees: async () => 'all',
      refusesAction: async () => {
        if (token === undefined) return READ_ONLY;
        if (isToken(shownToken(request), await token())) return undefined;
        if (strikes.blocked(request)) return TOO_MANY;
        strikes.add(request, 'token');
        return { status: 401, error: 'this is not the token' };
      },
    }),
  };
}

/** Concurrent checks, so that one browser does not take up all connections to the API server. */
const ASKED_AT_ONCE = 8;

export function rightsGate(rights: Rights, strikes: Strikes): Gate {
  return {
    actions: 'rights',
    admit: async (request) => {
      const token = shownToken(request);
      if (token === undefined)
        return {
          status: 401,
          error: 'sign in with a token of Kubernetes: kubectl create token <service account>',
          signIn: true,
        };
      // guesses are not passed on to the API server without limit
      if (!rights.knows(token) && strikes.blocked(request)) return { ...TOO_MANY, signIn: true };
      const name = await rights.userOf(token);
      if (name === undefined) {
        strikes.add(request, 'token');
        return {
          status: 401,
          error: 'the API server does not know this token, or it has expired: sign in with another',
          signIn: true,
        };
      }
      return visitor(rights, strikes, request, token, name);
    },
  };
}

function visitor(
  rights: Rights,
  strikes: Strikes,
  request: IncomingMessage,
  token: string,
  name: string,
): Visitor {
  return {
    name,
    sees: async (namespaces) => {
      if (await rights.may(token, { verb: 'list', namespace: '' })) return 'all';
      const asked = [...new Set(namespaces)];
      const seen = new Set<string>();
      for (let i = 0; i < asked.length; i += ASKED_AT_ONCE)
        await Promise.all(
          asked.slice(i, i + ASKED_AT_ONCE).map(async (namespace) => {
            if (await rights.may(token, { verb: 'list', namespace })) seen.add(namespace);
          }),
        );
      return seen;
    },
    refusesAction: async (namespace) => {
      if (await rights.may(token, { verb: 'patch', namespace })) return undefined;
      strikes.note(request, 'rights');
      return { status: 403, error: `${name} may not patch workerpools in namespace "${namespace}"` };
    },
  };
}

/** Why the visitor may not read `/metrics`; `undefined` if they may. */
export async function refusesMetrics(
  rights: Rights,
  strikes: Strikes,
  request: IncomingMessage,
): Promise<Denied | undefined> {
  const answer = await rightsGate(rights, strikes).admit(request);
  if (isDenied(answer)) return answer;
  if (await rights.may(shownToken(request) ?? '', { path: '/metrics' })) return undefined;
  strikes.note(request, 'rights');
  return { status: 403, error: `${answer.name} may not get /metrics: bind the ClusterRole for it` };
}

/**
 * Who comes to the dashboard, and what they may see and do there. One of three: by the rights that they have in Kubernetes,
 * shown by a token of it; everybody sees and one token lets act (`millrace dev`, and installations from before); or everybody
 * sees and nobody acts.
 */
import type { IncomingMessage } from 'node:http';
import type { Rights } from '../../kube/rights.ts';
import type { About } from './api.ts';
import { isToken, shownToken, type TokenSource } from './token.ts';
import type { Strikes } from './strikes.ts';

export interface Gate {
  readonly actions: About['actions'];
  /** Rejects when it cannot be told now. */
  admit(request: IncomingMessage): Promise<Visitor | Refused>;
}

export interface Refused {
  readonly status: 401 | 403 | 429;
  readonly error: string;
  /** The page asks for a token. */
  readonly signIn?: true;
}

export interface Visitor {
  /** For the log: who it is. */
  readonly name: string;
  /** Of these namespaces, which they see. */
  sees(namespaces: Iterable<string>): Promise<'all' | ReadonlySet<string>>;
  /** Why they may not act on pools there; `undefined` where they may. */
  refusesAction(namespace: string): Promise<Refused | undefined>;
}

export const isRefused = (answer: Visitor | Refused): answer is Refused => 'status' in answer;

const READ_ONLY: Refused = {
  status: 403,
  error: 'this dashboard is read-only: it was started without a token',
};
const TOO_MANY: Refused = {
  status: 429,
  error: 'too many wrong tokens came from your address: wait for a minute',
};

/** Without `token`, nobody acts. */
export function openGate(token: TokenSource | undefined, strikes: Strikes): Gate {
  return {
    actions: token === undefined ? 'none' : 'token',
    admit: async (request) => ({
      name: 'whoever has the token',
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

/** At a time, so that one browser does not fill the connections to the API server. */
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
      // a guess is not handed on to the API server for ever
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

/** Why `/metrics` is not for whoever asks; `undefined` where it is. */
export async function refusesMetrics(
  rights: Rights,
  strikes: Strikes,
  request: IncomingMessage,
): Promise<Refused | undefined> {
  const answer = await rightsGate(rights, strikes).admit(request);
  if (isRefused(answer)) return answer;
  if (await rights.may(shownToken(request) ?? '', { path: '/metrics' })) return undefined;
  strikes.note(request, 'rights');
  return { status: 403, error: `${answer.name} may not get /metrics: bind the ClusterRole for it` };
}

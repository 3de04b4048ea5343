/**
 * Who a token belongs to, and what they may do: asked of the API server with that token itself, so that the answer is what
 * `kubectl` would get with it, and we need no right of our own to ask (as TokenReview and SubjectAccessReview would).
 *
 * Answers are kept for half a minute, for a bounded number of tokens; of a token only its hash is kept.
 */
import { hash } from 'node:crypto';
import { KubeError } from './errors.ts';
import type { CallOptions, Transport } from './transport.ts';
import { GROUP, PLURAL } from './workerpool.ts';

/** Of WorkerPools in a namespace, or in all with `''`; or of a path of the controller's own, such as `/metrics`. */
export type Question =
  | { readonly verb: 'list' | 'patch'; readonly namespace: string }
  | { readonly path: string };

export interface Rights {
  /** `undefined` for a token that the API server rejects. Rejects with KubeError if the request fails. */
  userOf(token: string, options?: CallOptions): Promise<string | undefined>;
  may(token: string, question: Question, options?: CallOptions): Promise<boolean>;
  /** True if `userOf` is cached for the token, and is a user. */
  knows(token: string): boolean;
}

const KEPT_MS = 30_000;
const MOST_TOKENS = 500;
const MOST_QUESTIONS = 2_000;

interface Holder {
  readonly at: number;
  readonly user: Promise<string | undefined>;
  known: boolean;
  readonly answers: Map<string, Promise<boolean>>;
}

/** `now`: ms, monotonic. */
export function createRights(transport: Transport, now: () => number): Rights {
  const holders = new Map<string, Holder>();

  function holderOf(token: string, options: CallOptions | undefined): Holder {
    const name = hash('sha256', token, 'base64');
    const found = holders.get(name);
    if (found && now() - found.at < KEPT_MS) return found;
    holders.delete(name);
    const made: Holder = {
      at: now(),
      user: userOf(token, options).then((user) => {
        made.known = user !== undefined;
        return user;
      }),
      known: false,
      answers: new Map(),
    };
    holders.set(name, made);
    // a failed request is not cached
    made.user.catch(() => holders.get(name) === made && holders.delete(name));
    for (const oldest of holders.keys()) {
      if (holders.size <= MOST_TOKENS) break;
      holders.delete(oldest);
    }
    return made;
  }

  async function userOf(token: string, options: CallOptions | undefined): Promise<string | undefined> {
    try {
      const review = await transport.call<SubjectReview>(
        {
          method: 'POST',
          path: '/apis/authentication.k8s.io/v1/selfsubjectreviews',
          body: { apiVersion: 'authentication.k8s.io/v1', kind: 'SelfSubjectReview' },
          what: 'ask whose token it is',
          token,
        },
        options,
      );
      return review.status?.userInfo?.username;
    } catch (error) {
      if (error instanceof KubeError && error.status === 401) return undefined;
      throw error;
    }
  }

  async function ask(token: string, question: Question, options: CallOptions | undefined): Promise<boolean> {
    const asked =
      'path' in question
        ? { nonResourceAttributes: { path: question.path, verb: 'get' } }
        : { resourceAttributes: { group: GROUP, resource: PLURAL, ...question } };
    const review = await transport.call<AccessReview>(
      {
        method: 'POST',
        path: '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
        body: { apiVersion: 'authorization.k8s.io/v1', kind: 'SelfSubjectAccessReview', spec: asked },
        what: 'ask what a token allows',
        token,
      },
      options,
    );
    return review.status?.allowed === true;
  }

  return {
    userOf: (token, options) => holderOf(token, options).user,
    may: (token, question, options) => {
      const { answers } = holderOf(token, options);
      const key = JSON.stringify(question);
      const found = answers.get(key);
      if (found) return found;
      const answer = ask(token, question, options);
      if (answers.size < MOST_QUESTIONS) answers.set(key, answer);
      answer.catch(() => answers.delete(key));
      return answer;
    },
    knows: (token) => {
      const found = holders.get(hash('sha256', token, 'base64'));
      return found !== undefined && now() - found.at < KEPT_MS && found.known;
    },
  };
}

interface SubjectReview {
  readonly status?: { readonly userInfo?: { readonly username?: string } };
}

interface AccessReview {
  readonly status?: { readonly allowed?: boolean };
}

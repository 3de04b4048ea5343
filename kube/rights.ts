/**
 * Who a token belongs to, and what they may do: asked of the API server with that token itself, so that the answer is what
 * `kubectl` would get with it, and we need no right of our own to ask (as TokenReview and SubjectAccessReview would).
 *
 * A user without a token, whom the API server has named to us, is asked about with a SubjectAccessReview, which needs that right.
 *
 * Answers are kept for half a minute, for a bounded number of tokens and users; of a token only its hash is kept.
 */
import { hash } from 'node:crypto';
import { KubeError } from './errors.ts';
import type { CallOptions, Transport } from './transport.ts';
import { GROUP, PLURAL } from './workerpool.ts';

/**
 * Of WorkerPools in a namespace, or in all with `''`; of a path of the controller's own, such as `/metrics`; or of a metric for
 * autoscalers.
 */
export type AccessQuestion =
  | { readonly verb: 'list' | 'patch'; readonly namespace: string }
  | { readonly path: string }
  | {
      readonly verb: 'get';
      readonly group: 'external.metrics.k8s.io';
      readonly resource: string;
      readonly namespace: string;
    };

/** As a front proxy names one. */
export interface User {
  readonly name: string;
  readonly uid?: string;
  readonly groups: readonly string[];
  readonly extra: Readonly<Record<string, readonly string[]>>;
}

export interface Rights {
  /** `undefined` for a token that the API server rejects. Rejects with KubeError if the request fails. */
  userOf(token: string, options?: CallOptions): Promise<string | undefined>;
  may(token: string, question: AccessQuestion, options?: CallOptions): Promise<boolean>;
  /** The same of a user; needs the right to create SubjectAccessReviews. */
  mayUser(user: User, question: AccessQuestion, options?: CallOptions): Promise<boolean>;
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
  /** By user and question. */
  const users = new Map<string, { readonly at: number; readonly allowed: Promise<boolean> }>();
  const isFresh = ({ at }: { readonly at: number }): boolean => now() - at < KEPT_MS;

  function holderOf(token: string, options: CallOptions | undefined): Holder {
    const name = hash('sha256', token, 'base64');
    const found = holders.get(name);
    if (found && isFresh(found)) return found;
    const made: Holder = {
      at: now(),
      user: askUserOf(transport, token, options).then((user) => {
        made.known = user !== undefined;
        return user;
      }),
      known: false,
      answers: new Map(),
    };
    keep(holders, name, made, MOST_TOKENS);
    // a failed request is not cached
    made.user.catch(() => holders.get(name) === made && holders.delete(name));
    return made;
  }

  return {
    mayUser: (user, question, options) => {
      const key = JSON.stringify([user, question]);
      const found = users.get(key);
      if (found && isFresh(found)) return found.allowed;
      const made = { at: now(), allowed: askOfUser(transport, user, question, options) };
      keep(users, key, made, MOST_QUESTIONS);
      made.allowed.catch(() => users.get(key) === made && users.delete(key));
      return made.allowed;
    },
    userOf: (token, options) => holderOf(token, options).user,
    may: (token, question, options) => {
      const { answers } = holderOf(token, options);
      const key = JSON.stringify(question);
      const found = answers.get(key);
      if (found) return found;
      const answer = askOfToken(transport, token, question, options);
      if (answers.size < MOST_QUESTIONS) answers.set(key, answer);
      answer.catch(() => answers.delete(key));
      return answer;
    },
    knows: (token) => {
      const found = holders.get(hash('sha256', token, 'base64'));
      return found !== undefined && isFresh(found) && found.known;
    },
  };
}

/** Puts a value last, and drops the oldest if there are more than `most`. */
function keep<T>(values: Map<string, T>, key: string, value: T, most: number): void {
  values.delete(key);
  values.set(key, value);
  for (const oldest of values.keys()) {
    if (values.size <= most) break;
    values.delete(oldest);
  }
}

async function askUserOf(
  transport: Transport,
  token: string,
  options: CallOptions | undefined,
): Promise<string | undefined> {
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

async function askOfToken(
  transport: Transport,
  token: string,
  question: AccessQuestion,
  options: CallOptions | undefined,
): Promise<boolean> {
  const review = await transport.call<AccessReview>(
    {
      method: 'POST',
      path: '/apis/authorization.k8s.io/v1/selfsubjectaccessreviews',
      body: {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SelfSubjectAccessReview',
        spec: attributesOf(question),
      },
      what: 'ask what a token allows',
      token,
    },
    options,
  );
  return review.status?.allowed === true;
}

async function askOfUser(
  transport: Transport,
  user: User,
  question: AccessQuestion,
  options: CallOptions | undefined,
): Promise<boolean> {
  const { name, ...rest } = user;
  const review = await transport.call<AccessReview>(
    {
      method: 'POST',
      path: '/apis/authorization.k8s.io/v1/subjectaccessreviews',
      body: {
        apiVersion: 'authorization.k8s.io/v1',
        kind: 'SubjectAccessReview',
        spec: { user: name, ...rest, ...attributesOf(question) },
      },
      what: 'ask what a user may do',
    },
    options,
  );
  return review.status?.allowed === true;
}

function attributesOf(question: AccessQuestion): object {
  if ('path' in question) return { nonResourceAttributes: { path: question.path, verb: 'get' } };
  return { resourceAttributes: { group: GROUP, resource: PLURAL, ...question } };
}

interface SubjectReview {
  readonly status?: { readonly userInfo?: { readonly username?: string } };
}

interface AccessReview {
  readonly status?: { readonly allowed?: boolean };
}

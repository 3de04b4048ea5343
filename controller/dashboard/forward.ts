/**
 * A standby knows nothing of the pools: it hands what it is asked to the controller that leads, and hands back the answer, a
 * stream of events too. The leader's address stands in the lease, written there with the leader's name.
 */
import { request as requestHttp, type IncomingMessage, type ServerResponse } from 'node:http';
import { sendJson } from '../../runtime/replies.ts';
import type { Refusal } from './api.ts';

/** On a request that was handed on: it is not handed on again. */
export const FORWARDED = 'x-millrace-forwarded';

const CONNECT_MS = 3_000;
/** Of one connection only, and not of what is asked. */
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade']);

/** `address`: `http://host:port` of the leader, or `undefined` when nobody is known to lead. */
export function forward(
  request: IncomingMessage,
  response: ServerResponse,
  address: string | undefined,
): void {
  const refuse = (error: string): void => {
    if (response.headersSent) response.destroy();
    else void sendJson(request, response, 503, { error } satisfies Refusal);
  };
  if (address === undefined || request.headers[FORWARDED] !== undefined)
    return refuse('no controller leads right now: one takes over within seconds');
  const headers = Object.fromEntries(
    Object.entries(request.headers).filter(([name]) => !HOP_BY_HOP.has(name)),
  );
  const onward = requestHttp(
    new URL(request.url ?? '/', address),
    { method: request.method, headers: { ...headers, [FORWARDED]: '1' }, agent: false },
    (answer) => {
      onward.setTimeout(0);
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
      answer.once('error', () => response.destroy());
    },
  );
  onward.setTimeout(CONNECT_MS, () => onward.destroy(new Error('it does not answer')));
  onward.once('error', (error) => refuse(`the controller that leads cannot be reached: ${error.message}`));
  response.once('close', () => onward.destroy());
  request.pipe(onward);
}

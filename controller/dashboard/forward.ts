/**
 * A standby has no data on the pools: it forwards requests to the leading controller, and streams back the response, events
 * included. The leader's address is in the lease, next to the leader's name.
 */
import { request as requestHttp, type IncomingMessage, type ServerResponse } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { TLSSocket } from 'node:tls';
import { sendJson } from '../../runtime/replies.ts';
import type { Refusal } from './api.ts';

/** Marks a forwarded request: it is not forwarded again. */
const FORWARDED = 'x-millrace-forwarded';

const CONNECT_TIMEOUT_MS = 3_000;
/** Headers of one connection, which are not forwarded. */
const HOP_BY_HOP = new Set(['connection', 'keep-alive', 'te', 'trailer', 'transfer-encoding', 'upgrade']);

export interface Leader {
  /** `http://host:port`, or `https://…`. */
  readonly address: string;
  /**
   * DER of the certificate that it must present, whatever name is in it: it is our own, as both use the one of the same
   * Secret.
   */
  readonly certificate?: Buffer | undefined;
}

/** `leader`: `undefined` if no leader is known. */
export function forward(
  request: IncomingMessage,
  response: ServerResponse,
  leader: Leader | undefined,
): void {
  const refuse = (error: string): void => {
    if (response.headersSent) response.destroy();
    else void sendJson(request, response, 503, { error } satisfies Refusal);
  };
  if (leader === undefined || request.headers[FORWARDED] !== undefined)
    return refuse('no controller leads right now: one takes over within seconds');
  const headers = Object.fromEntries(
    Object.entries(request.headers).filter(([name]) => !HOP_BY_HOP.has(name)),
  );
  const url = new URL(request.url ?? '/', leader.address);
  const secure = url.protocol === 'https:';
  const onward = (secure ? requestHttps : requestHttp)(
    url,
    {
      method: request.method,
      headers: { ...headers, [FORWARDED]: '1' },
      agent: false,
      // verified by the certificate itself, below
      ...(secure ? { rejectUnauthorized: false } : {}),
    },
    (answer) => {
      onward.setTimeout(0);
      response.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(response);
      answer.once('error', () => response.destroy());
    },
  );
  if (secure)
    onward.once('socket', (socket) =>
      socket.once('secureConnect', () => {
        const { raw } = (socket as TLSSocket).getPeerCertificate();
        if (!raw || !leader.certificate?.equals(raw))
          onward.destroy(new Error('it presents another certificate than ours'));
      }),
    );
  onward.setTimeout(CONNECT_TIMEOUT_MS, () => onward.destroy(new Error('it does not answer')));
  onward.once('error', (error) => refuse(`the controller that leads cannot be reached: ${error.message}`));
  response.once('close', () => onward.destroy());
  request.pipe(onward);
}

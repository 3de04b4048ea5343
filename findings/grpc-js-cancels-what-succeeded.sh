#!/usr/bin/env bash
# A server of grpc-js is told of every call that it was cancelled, after it has answered it
#
# Guess    `call.on('cancelled')` and `call.cancelled` speak of a call that its client gave up, or whose deadline passed. A handler that
#          counts them, or undoes its work in the listener, is not bothered by calls that were answered.
# Truth    The event comes at the end of every call, also of one whose answer the client has, and `cancelled` is true from then on. It
#          comes after the handler's callback, so a listener that undoes something undoes finished work, unless it knows itself
#          that the answer was given. In Python's grpcio such a call ends with is_active() false and no word of a cancellation.
# Versions @grpc/grpc-js 1.14.7 with Node.js 24.21.0 (npm)
# Date     2026-11-29
# Source   observed; intended since 1.10 (grpc/grpc-node#2771), and in neither the documentation nor the types
# Output   answered, cancelled false / cancelled event, cancelled true / the client has: OK, answer
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null && npm install --silent --no-fund --no-audit node@24.21.0 @grpc/grpc-js@1.14.7
cat >see.mjs <<'JS'
import { promisify } from 'node:util';
import { Server, ServerCredentials, credentials, makeClientConstructor } from '@grpc/grpc-js';

const bytes = (text) => Buffer.from(text);
const service = {
  run: {
    path: '/see.See/Run',
    requestStream: false,
    responseStream: false,
    requestSerialize: bytes,
    requestDeserialize: String,
    responseSerialize: bytes,
    responseDeserialize: String,
  },
};
const ended = Promise.withResolvers();
const server = new Server();
server.addService(service, {
  run(call, answer) {
    call.on('cancelled', () => {
      console.log(`cancelled event, cancelled ${call.cancelled}`);
      ended.resolve();
    });
    answer(null, 'answer');
    console.log(`answered, cancelled ${call.cancelled}`);
  },
});
const port = await promisify(server.bindAsync.bind(server))('127.0.0.1:0', ServerCredentials.createInsecure());
const Client = makeClientConstructor(service, 'See');
const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure());
const got = new Promise((resolve) => client.run('request', (error, answer) => resolve(error ? error.message : `OK, ${answer}`)));
// the event of a call that was answered: without one, this ends the wait
setTimeout(ended.resolve, 20_000).unref();
await ended.promise;
console.log(`the client has: ${await got}`);
client.close();
server.forceShutdown();
JS
node_modules/.bin/node see.mjs | tee seen
diff - seen <<'SEEN'
answered, cancelled false
cancelled event, cancelled true
the client has: OK, answer
SEEN

#!/usr/bin/env bash
# eventsource reconnects with an old Last-Event-ID where the server's last word was an id without data
#
# Guess    A server that has nothing to say for a while sends its position alone ("id: 2" and an empty line), which dispatches no event
#          and moves the position: the HTML standard sets the last event ID before it looks at the data. After the connection
#          breaks the client asks for what came after 2.
# Truth    The eventsource package asks for what came after 1: its parser reports an id only with an event. Node's own EventSource
#          (undici) asks for 2. So a stream that filters, and says every minute how far it has looked, is read from its last
#          match again after each break, or not at all, if the server no longer keeps what lies so far back.
# Versions eventsource 4.1.1 with eventsource-parser 3.1.1 and Node.js 24.21.0 (npm)
# Date     2026-11-29
# Source   observed; HTML standard, "Interpreting an event stream", "dispatch the event", steps 1 and 2
# Output   eventsource: Last-Event-ID 1 / undici: Last-Event-ID 2
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null && npm install --silent --no-fund --no-audit node@24.21.0 eventsource@4.1.1 eventsource-parser@3.1.1
cat >see.mjs <<'JS'
import { once } from 'node:events';
import { createServer } from 'node:http';
import { EventSource } from 'eventsource';

async function see(name, Source) {
  const { promise: second, resolve } = Promise.withResolvers();
  let first = true;
  const server = createServer((request, response) => {
    response.writeHead(200, { 'content-type': 'text/event-stream' });
    if (!first) return resolve(request.headers['last-event-id']);
    first = false;
    response.end('retry: 50\n\nid: 1\ndata: a match\n\nid: 2\n\n');
  });
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const source = new Source(`http://127.0.0.1:${server.address().port}`);
  console.log(`${name}: Last-Event-ID ${await second}`);
  source.close();
  server.close();
  server.closeAllConnections();
}
await see('eventsource', EventSource);
await see('undici', globalThis.EventSource);
JS
node_modules/.bin/node --no-warnings --experimental-eventsource see.mjs | tee seen
diff - seen <<'SEEN'
eventsource: Last-Event-ID 1
undici: Last-Event-ID 2
SEEN

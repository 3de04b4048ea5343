#!/usr/bin/env bash
# A server that keeps connections for two seconds gets a new one for every request of fetch
#
# Guess    A server that answers `Keep-Alive: timeout=2` serves a client that asks again at once, and again, on one connection: each
#          request begins long before the two seconds are over.
# Truth    fetch opens a connection for each. undici takes two seconds off what the server promises, for clocks and delays, and closes
#          at once what has nothing left; http.Agent takes off one, so timeout=1 is none for it. A server that was given a
#          short keep-alive to be rid of idle connections is given one for every request instead, TLS and all.
# Versions Node.js 24.21.0 (npm package node), with the undici that is in it
# Date     2026-11-29
# Source   observed; Node's agentKeepAliveTimeoutBuffer and undici's keepAliveTimeoutThreshold are documented as a margin
# Output   connections of 10 requests, one after the other: timeout=1: http.Agent 10, fetch 10 / timeout=2: http.Agent few, fetch 10 /
#          timeout=30: http.Agent few, fetch few (one, or two where a request comes before the pool has noticed the end of the last)
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null && npm install --silent --no-fund --no-audit node@24.21.0
cat >see.mjs <<'JS'
import { once } from 'node:events';
import { Agent, createServer, get } from 'node:http';

const clients = {
  async agent(url, agent) {
    const [response] = await once(get(url, { agent }), 'response');
    response.resume();
    await once(response, 'end');
  },
  fetch: async (url) => (await fetch(url)).text(),
};

async function connections(seconds, client) {
  let count = 0;
  // the server itself keeps them for a minute, so that nothing depends on how fast this machine is
  const server = createServer({ keepAliveTimeout: 60_000 }, (_, response) => {
    response.setHeader('connection', 'keep-alive');
    response.setHeader('keep-alive', `timeout=${seconds}`);
    response.end('ok');
  });
  server.on('connection', () => count++);
  await once(server.listen(0, '127.0.0.1'), 'listening');
  const agent = new Agent({ keepAlive: true });
  for (let i = 0; i < 10; i++) await client(`http://127.0.0.1:${server.address().port}`, agent);
  agent.destroy();
  server.close();
  server.closeAllConnections();
  return count === 10 ? '10' : count <= 5 ? 'few' : `${count}`;
}
for (const seconds of [1, 2, 30])
  console.log(
    `timeout=${seconds}: http.Agent ${await connections(seconds, clients.agent)}, fetch ${await connections(seconds, clients.fetch)}`,
  );
JS
node_modules/.bin/node see.mjs | tee seen
diff - seen <<'SEEN'
timeout=1: http.Agent 10, fetch 10
timeout=2: http.Agent few, fetch 10
timeout=30: http.Agent few, fetch few
SEEN

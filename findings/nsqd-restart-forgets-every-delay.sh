#!/usr/bin/env bash
# nsqd: a message that was deferred for half an hour is delivered at once after nsqd was restarted in good order
#
# Guess    On SIGTERM nsqd writes what it has to disk, so nothing is lost, and a message that was published with a delay has the rest of its
#          delay after the restart, as with beanstalkd's log or a queue in Redis. It is delivered when it is due.
# Truth    The message is kept, the delay is not: on disk there is no place for it. After the start it is ready, and the first consumer gets
#          it, half an hour early. The same holds for messages that a consumer has put back with a delay (REQ), so each restart retries all that
#          was backing off, in one burst.
# Versions github.com/nsqio/nsq 1.3.0 (Go)
# Date     2026-11-30
# Source   observed; nsqio/nsq#1107, open since 2018, calls it a known limitation; the documentation of DPUB does not speak of it
# Output   before the restart: ready 0, deferred 1 / after it: ready 1, deferred 0
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || { kill "$server" 2>/dev/null && wait "$server" || true; }; rm -rf "$work"' EXIT
cd "$work"
cat >see.go <<'GO'
package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"
)

type channel struct {
	Depth    int `json:"depth"`
	Deferred int `json:"deferred_count"`
}

func main() {
	url, title := os.Args[1], os.Args[2]
	for range 100 {
		if answer, err := http.Get(url + "/ping"); err == nil && answer.StatusCode == 200 {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	for _, path := range os.Args[3:] {
		if _, err := http.Post(url+path, "", strings.NewReader("message")); err != nil {
			panic(err)
		}
	}
	for {
		answer, err := http.Get(url + "/stats?format=json")
		if err != nil {
			panic(err)
		}
		var stats struct{ Topics []struct{ Channels []channel } }
		if err := json.NewDecoder(answer.Body).Decode(&stats); err != nil {
			panic(err)
		}
		// a message passes from its topic to the channel in the background
		if seen := stats.Topics[0].Channels[0]; seen.Depth+seen.Deferred > 0 {
			fmt.Printf("%s: ready %d, deferred %d\n", title, seen.Depth, seen.Deferred)
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
}
GO
go mod init see 2>/dev/null
# the fork that nsqd itself is built with
go mod edit -replace github.com/judwhite/go-svc=github.com/mreiferson/go-svc@v1.2.2-0.20210815184239-7a96e00010f6
go get github.com/nsqio/nsq/apps/nsqd@v1.3.0 2>/dev/null
go build -o nsqd github.com/nsqio/nsq/apps/nsqd
go build -o see see.go
port=$((20000 + RANDOM % 10000))
start() {
  ./nsqd -tcp-address "127.0.0.1:$((port + 1))" -http-address "127.0.0.1:$port" -data-path "$work" 2>>nsqd.log &
  server=$!
}
start
timeout 60 ./see "http://127.0.0.1:$port" 'before the restart' '/topic/create?topic=mail' '/channel/create?topic=mail&channel=send' \
  '/pub?topic=mail&defer=1800000' | tee seen
kill -TERM "$server" && wait "$server"
start
timeout 60 ./see "http://127.0.0.1:$port" 'after it' | tee -a seen
diff - seen <<'SEEN'
before the restart: ready 0, deferred 1
after it: ready 1, deferred 0
SEEN

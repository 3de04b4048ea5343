#!/usr/bin/env bash
# controller-runtime's queue forgets a delayed request when one without a delay comes first; client-go's keeps both
#
# Guess    AddAfter(x, an hour) brings x in an hour, whatever happens to x before. If x is added meanwhile, it comes at once, and again at the
#          full hour, as with the queue of client-go, whose interface controller-runtime's priority queue has.
# Truth    The priority queue knows each request once, with the earliest of its times. What is added before the hour takes the entry
#          with it, and at the full hour nothing comes. A reconciler that answers RequeueAfter only in the round that began something,
#          or a handler that calls AddAfter, is not called when an event came in between. Two delays are one in both queues: the shorter.
# Versions sigs.k8s.io/controller-runtime 0.25.2, k8s.io/client-go 0.37.0 (Go)
# Date     2026-11-30
# Source   observed; AddWithOpts in pkg/controller/priorityqueue of controller-runtime
# Output   client-go: at once true, after the delay true / controller-runtime: at once true, after the delay false
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >see.go <<'GO'
package main

import (
	"fmt"
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
)

const delay = 5 * time.Second

func see(name string, queue workqueue.TypedRateLimitingInterface[string]) {
	came := make(chan time.Time, 10)
	go func() {
		for {
			item, down := queue.Get()
			if down {
				return
			}
			came <- time.Now()
			queue.Forget(item)
			queue.Done(item)
		}
	}()
	start := time.Now()
	queue.AddAfter("x", delay)
	queue.Add("x")
	time.Sleep(delay + 5*time.Second)
	queue.ShutDown()
	early, late := false, false
	for len(came) > 0 {
		if (<-came).Sub(start) < delay {
			early = true
		} else {
			late = true
		}
	}
	fmt.Printf("%s: at once %t, after the delay %t\n", name, early, late)
}

func main() {
	see("client-go", workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[string]()))
	see("controller-runtime", priorityqueue.New[string]("see"))
}
GO
go mod init see 2>/dev/null
go get sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue@v0.25.2 k8s.io/client-go/util/workqueue@v0.37.0 2>/dev/null
go mod tidy 2>/dev/null
go run see.go | tee seen
diff - seen <<'SEEN'
client-go: at once true, after the delay true
controller-runtime: at once true, after the delay false
SEEN

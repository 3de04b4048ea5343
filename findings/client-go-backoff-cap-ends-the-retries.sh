#!/usr/bin/env bash
# client-go: a backoff of ten steps with a cap of five seconds gives up after three tries
#
# Guess    Cap is the longest wait: {Duration: 1s, Factor: 2, Steps: 10, Cap: 5s} waits 1, 2, 4, 5, 5, 5 … s between ten tries, as caps do
#          in other backoffs: all of them within 37 s.
# Truth    Where the next wait would exceed the cap there is no next try: retry.OnError tries three times and returns the error after 3 s.
#          Without a cap it tries ten times. So a cap that is meant to make the later tries of an outage more frequent takes them away.
#          Step(), called in a loop of one's own, does go on with 5 s.
# Versions k8s.io/client-go 0.37.2, k8s.io/apimachinery 0.37.2 (Go)
# Date     2026-11-30
# Source   observed (in ms instead of s); the comment of Cap in apimachinery's Backoff says that steps are set to zero then
# Output   no cap: 10 tries / cap of 5: 3 tries / Step(): 1ms 2ms 4ms 5ms 5ms 5ms
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >see.go <<'GO'
package main

import (
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
)

func tries(backoff wait.Backoff) int {
	tries := 0
	_ = retry.OnError(backoff, func(error) bool { return true }, func() error {
		tries++
		return errors.New("unavailable")
	})
	return tries
}

func main() {
	backoff := wait.Backoff{Duration: time.Millisecond, Factor: 2, Steps: 10}
	fmt.Printf("no cap: %d tries\n", tries(backoff))
	backoff.Cap = 5 * time.Millisecond
	fmt.Printf("cap of 5: %d tries\n", tries(backoff))
	fmt.Print("Step():")
	for range 6 {
		fmt.Printf(" %s", backoff.Step())
	}
	fmt.Println()
}
GO
{
  go mod init see
  go get k8s.io/client-go@v0.37.2 k8s.io/apimachinery@v0.37.2
  go mod tidy
} >/dev/null 2>go.log
go run . | tee seen
diff - seen <<'SEEN'
no cap: 10 tries
cap of 5: 3 tries
Step(): 1ms 2ms 4ms 5ms 5ms 5ms
SEEN

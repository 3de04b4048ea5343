#!/usr/bin/env bash
# The jitter of p-retry, async-retry, cockatiel, tenacity and retry-go is gone when the longest wait is reached: from then on all waits are equal
#
# Guess    Backoff with jitter and a longest wait keeps clients apart for as long as an outage lasts: each wait is random, also the long ones, as
#          with "full jitter", where a wait is a random part of the cap. p-retry's `randomize`, wait_exponential_jitter of tenacity and the
#          defaults of the others are that.
# Truth    They add what is random first and then cut off at the cap. With the usual figures the cap is reached after some six tries, and each
#          later wait is the cap to the millisecond: clients whose tries fall together then stay together for the rest of the outage.
#          exponential-backoff, wait_random_exponential of tenacity and backoff (Go) stay random.
# Versions p-retry 7.1.1, async-retry 1.3.3, cockatiel 3.2.1, exponential-backoff 3.1.3 (npm); tenacity 9.2.1 (PyPI);
#          github.com/avast/retry-go/v4 4.7.0, github.com/cenkalti/backoff/v5 5.0.3 (Go)
# Date     2026-11-30
# Source   observed; only the documentation of wait_exponential_jitter has a formula, with min() outermost
# Output   different waits among the last ten of thirty: p-retry 1, async-retry 1, cockatiel 1, tenacity wait_exponential_jitter 1, retry-go 1;
#          exponential-backoff, tenacity wait_random_exponential and backoff: ten, or nearly
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet tenacity==9.2.1
npm init -y >/dev/null
npm install --silent --no-fund --no-audit node@24.21.0 p-retry@7.1.1 async-retry@1.3.3 cockatiel@3.2.1 exponential-backoff@3.1.3
export PATH="$work/node_modules/.bin:$PATH"
cat >see.mjs <<'JS'
import asyncRetry from 'async-retry';
import { ExponentialBackoff, handleAll, retry } from 'cockatiel';
import { backOff } from 'exponential-backoff';
import pRetry from 'p-retry';

const fail = async () => {
  throw new Error('down');
};

// what is asked for is noted, and waited for in no time
async function show(name, run) {
  const original = globalThis.setTimeout;
  const waits = [];
  globalThis.setTimeout = (call, milliseconds) => {
    waits.push(milliseconds);
    return original(call, 0);
  };
  await run().catch(() => {});
  globalThis.setTimeout = original;
  const different = new Set(waits.slice(20, 30)).size;
  console.log(`${name}: ${different === 1 ? `all ${waits[29]} ms` : different > 5 ? 'random' : different}`);
}

const limits = { minTimeout: 100, maxTimeout: 5000, retries: 30 };
await show('p-retry', () => pRetry(fail, { ...limits, randomize: true }));
await show('async-retry', () => asyncRetry(fail, limits));
const backoff = new ExponentialBackoff({ initialDelay: 100, maxDelay: 5000 });
await show('cockatiel', () => retry(handleAll, { maxAttempts: 30, backoff }).execute(fail));
await show('exponential-backoff', () => backOff(fail, { startingDelay: 100, maxDelay: 5000, numOfAttempts: 31, jitter: 'full' }));
JS
cat >see.py <<'PY'
from tenacity import RetryError, Retrying, stop_after_attempt, wait_exponential_jitter, wait_random_exponential


def show(name, wait):
    waits = []
    try:
        Retrying(wait=wait, stop=stop_after_attempt(31), sleep=waits.append)(lambda: 1 / 0)
    except RetryError:
        different = len(set(waits[20:30]))
        print(f"{name}: {f'all {waits[29]:g} s' if different == 1 else 'random' if different > 5 else different}")


show("tenacity, wait_exponential_jitter", wait_exponential_jitter(max=5))
show("tenacity, wait_random_exponential", wait_random_exponential(max=5))
PY
cat >see.go <<'GO'
package main

import (
	"errors"
	"fmt"
	"time"

	retry "github.com/avast/retry-go/v4"
	"github.com/cenkalti/backoff/v5"
)

// what is asked for is noted, and waited for in no time
type noted struct{ waits []time.Duration }

func (n *noted) After(wait time.Duration) <-chan time.Time {
	n.waits = append(n.waits, wait)
	return time.After(0)
}

func show(name string, waits []time.Duration) {
	different := map[time.Duration]bool{}
	for _, wait := range waits[20:30] {
		different[wait] = true
	}
	switch {
	case len(different) == 1:
		fmt.Printf("%s: all %v\n", name, waits[29])
	case len(different) > 5:
		fmt.Printf("%s: random\n", name)
	default:
		fmt.Printf("%s: %d\n", name, len(different))
	}
}

func main() {
	timer := &noted{}
	_ = retry.Do(func() error { return errors.New("down") },
		retry.Attempts(31), retry.Delay(100*time.Millisecond), retry.MaxDelay(5*time.Second), retry.WithTimer(timer))
	show("retry-go", timer.waits)
	waits := make([]time.Duration, 30)
	exponential := backoff.NewExponentialBackOff()
	exponential.InitialInterval, exponential.MaxInterval = 100*time.Millisecond, 5*time.Second
	for n := range waits {
		waits[n] = exponential.NextBackOff()
	}
	show("backoff", waits)
}
GO
go mod init see 2>/dev/null && go get github.com/avast/retry-go/v4@v4.7.0 github.com/cenkalti/backoff/v5@v5.0.3 2>/dev/null
timeout 60 node see.mjs | tee seen
py/bin/python see.py | tee -a seen
go run see.go | tee -a seen
diff - seen <<'SEEN'
p-retry: all 5000 ms
async-retry: all 5000 ms
cockatiel: all 5000 ms
exponential-backoff: random
tenacity, wait_exponential_jitter: all 5 s
tenacity, wait_random_exponential: random
retry-go: all 5s
backoff: random
SEEN

#!/usr/bin/env bash
# OpenTelemetry: at the same ratio, the sampler by trace ID of JavaScript takes other traces than those of Go and Python
#
# Guess    TraceIdRatioBased decides by the trace ID alone, so that services that were given the same ratio take the same traces, whatever their
#          language, without asking each other: that is why it is no random number. At 10 % of 20,000 traces, each takes the same 2,000.
# Truth    So it is with Go and Python, which compare the last 64 bits. JavaScript compares the exclusive or of the four 32-bit words of the
#          ID. It takes 10 % as well, but of these only each tenth is one of the others' 10 %: of a hundred traces that pass through a
#          service in Go and one in JavaScript, one is whole. Only a parent-based sampler, which asks nothing of the ID, keeps them together.
# Versions @opentelemetry/sdk-trace-base 2.12.1 with Node.js 24.21.0 (npm), opentelemetry-sdk 1.45.2 (PyPI),
#          go.opentelemetry.io/otel/sdk 1.47.0 (Go)
# Date     2026-11-30
# Source   observed; the specification of TraceIdRatioBased asks that a higher ratio take all that a lower one does, and left the algorithm open
#          (open-telemetry/opentelemetry-specification#1413); the documentation of the three does not say that they differ
# Output   each about 10 % / Go and Python: the same traces / Go and JavaScript: about one of ten in common
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet opentelemetry-sdk==1.45.2
npm init -y >/dev/null && npm install --silent --no-fund --no-audit node@24.21.0 @opentelemetry/api@1.9.1 @opentelemetry/sdk-trace-base@2.12.1
cat >see.mjs <<'JS'
import { readFileSync } from 'node:fs';
import { ROOT_CONTEXT } from '@opentelemetry/api';
import { SamplingDecision, TraceIdRatioBasedSampler } from '@opentelemetry/sdk-trace-base';
const sampler = new TraceIdRatioBasedSampler(0.1);
const taken = (id) => sampler.shouldSample(ROOT_CONTEXT, id).decision === SamplingDecision.RECORD_AND_SAMPLED;
for (const id of readFileSync(0, 'utf8').trim().split('\n')) if (taken(id)) console.log(id);
JS
cat >see.py <<'PY'
import sys

from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

sampler = TraceIdRatioBased(0.1)
for line in sys.stdin:
    if sampler.should_sample(None, int(line, 16), "span").decision.is_sampled():
        print(line.strip())
PY
cat >see.go <<'GO'
package main

import (
	"bufio"
	"fmt"
	"os"

	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

func main() {
	sampler := sdk.TraceIDRatioBased(0.1)
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		id, err := trace.TraceIDFromHex(lines.Text())
		if err != nil {
			panic(err)
		}
		if sampler.ShouldSample(sdk.SamplingParameters{TraceID: id}).Decision == sdk.RecordAndSample {
			fmt.Println(id)
		}
	}
}
GO
{
  go mod init see
  go get go.opentelemetry.io/otel/sdk@v1.47.0 go.opentelemetry.io/otel/trace@v1.47.0
  go mod tidy
} >/dev/null 2>go.log
python3 -c 'import secrets; [print(secrets.token_hex(16)) for _ in range(20000)]' >ids
go run . <ids | sort >go.taken
py/bin/python see.py <ids | sort >python.taken
node_modules/.bin/node see.mjs <ids | sort >javascript.taken
python3 - <<'PY' | tee seen
def taken(name):
    return set(open(f"{name}.taken").read().split())


go, python, javascript = taken("go"), taken("python"), taken("javascript")
for name, ids in (("Go", go), ("Python", python), ("JavaScript", javascript)):
    print(f"{name}: about 10 %: {1700 < len(ids) < 2300}")
print(f"Go and Python: the same traces: {go == python}")
print(f"Go and JavaScript: about one of ten in common: {0.05 < len(go & javascript) / len(go) < 0.15}")
PY
diff - seen <<'SEEN'
Go: about 10 %: True
Python: about 10 %: True
JavaScript: about 10 %: True
Go and Python: the same traces: True
Go and JavaScript: about one of ten in common: True
SEEN

#!/usr/bin/env bash
# Baggage of OpenTelemetry: a space that Python sends arrives as a + in Go and JavaScript, and a + that Go sends arrives as a space in Python
#
# Guess    A baggage value is any text; the propagators of W3C Baggage encode what the header cannot hold with percent signs, so each
#          language reads what another one has set.
# Truth    Python writes and reads the header like a form. "Ada Lovelace" is sent as Ada+Lovelace, in which Go and JavaScript see a plus. Go sends
#          the plus of "05:00+01:00" as it is, as the standard allows, and Python reads a space: a time that no parser takes. Between
#          two services in Python there is nothing to see.
# Versions opentelemetry-api 1.45.2 (PyPI), @opentelemetry/core 2.12.1, @opentelemetry/api 1.9.1 with Node.js 24.21.0 (npm),
#          go.opentelemetry.io/otel 1.47.0 (Go)
# Date     2026-11-30
# Source   observed, and quote_plus in opentelemetry/baggage/propagation; open-telemetry/opentelemetry-python#2010, of 2021, and #5566
# Output   python sends Ada+Lovelace: python Ada Lovelace, go Ada+Lovelace, javascript Ada+Lovelace / go sends 05:00+01:00: python 05:00 01:00,
#          go 05:00+01:00, javascript 05:00+01:00 / what javascript sends arrives everywhere
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet opentelemetry-api==1.45.2
npm init -y >/dev/null && npm install --silent --no-fund --no-audit node@24.21.0 @opentelemetry/api@1.9.1 @opentelemetry/core@2.12.1
cat >see.mjs <<'JS'
import { ROOT_CONTEXT, defaultTextMapGetter, defaultTextMapSetter, propagation } from '@opentelemetry/api';
import { W3CBaggagePropagator } from '@opentelemetry/core';
const [what, text] = process.argv.slice(2);
const propagator = new W3CBaggagePropagator();
if (what === 'send') {
  const headers = {};
  const bag = propagation.createBaggage({ key: { value: text } });
  propagator.inject(propagation.setBaggage(ROOT_CONTEXT, bag), headers, defaultTextMapSetter);
  console.log(headers.baggage);
} else {
  console.log(propagation.getBaggage(propagator.extract(ROOT_CONTEXT, { baggage: text }, defaultTextMapGetter)).getEntry('key').value);
}
JS
cat >see.py <<'PY'
import sys

from opentelemetry import baggage
from opentelemetry.baggage.propagation import W3CBaggagePropagator

what, text = sys.argv[1:]
if what == "send":
    headers = {}
    W3CBaggagePropagator().inject(headers, baggage.set_baggage("key", text))
    print(headers["baggage"])
else:
    print(baggage.get_baggage("key", W3CBaggagePropagator().extract({"baggage": text})))
PY
cat >see.go <<'GO'
package main

import (
	"context"
	"fmt"
	"os"

	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/propagation"
)

func main() {
	what, text := os.Args[1], os.Args[2]
	headers := propagation.MapCarrier{}
	if what == "send" {
		member, err := baggage.NewMemberRaw("key", text)
		if err != nil {
			panic(err)
		}
		bag, err := baggage.New(member)
		if err != nil {
			panic(err)
		}
		propagation.Baggage{}.Inject(baggage.ContextWithBaggage(context.Background(), bag), headers)
		fmt.Println(headers["baggage"])
	} else {
		headers["baggage"] = text
		context := propagation.Baggage{}.Extract(context.Background(), headers)
		fmt.Println(baggage.FromContext(context).Member("key").Value())
	}
}
GO
{
  go mod init see
  go get go.opentelemetry.io/otel@v1.47.0
  go mod tidy
  go build -o see .
} >/dev/null 2>go.log
in_language() {
  case $1 in
    python) py/bin/python see.py "${@:2}" ;;
    go) ./see "${@:2}" ;;
    javascript) node_modules/.bin/node see.mjs "${@:2}" ;;
  esac
}
for text in 'Ada Lovelace' '05:00+01:00'; do
  for from in python go javascript; do
    header=$(in_language "$from" send "$text")
    printf '%s sends %s:' "$from" "${header#key=}"
    for to in python go javascript; do printf ' %s "%s"' "$to" "$(in_language "$to" read "$header")"; done
    echo
  done
done | tee seen
diff - seen <<'SEEN'
python sends Ada+Lovelace: python "Ada Lovelace" go "Ada+Lovelace" javascript "Ada+Lovelace"
go sends Ada%20Lovelace: python "Ada Lovelace" go "Ada Lovelace" javascript "Ada Lovelace"
javascript sends Ada%20Lovelace: python "Ada Lovelace" go "Ada Lovelace" javascript "Ada Lovelace"
python sends 05%3A00%2B01%3A00: python "05:00+01:00" go "05:00+01:00" javascript "05:00+01:00"
go sends 05:00+01:00: python "05:00 01:00" go "05:00+01:00" javascript "05:00+01:00"
javascript sends 05%3A00%2B01%3A00: python "05:00+01:00" go "05:00+01:00" javascript "05:00+01:00"
SEEN

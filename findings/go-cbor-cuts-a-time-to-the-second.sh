#!/usr/bin/env bash
# fxamacker/cbor writes a time.Time as a plain number of seconds: milliseconds and zone are gone, and nobody can see that it was a time
#
# Guess    CBOR has tags for times (0 and 1), and fractions of a second in both. cbor.Marshal of a struct with a time.Time writes one of them
#          with its nanoseconds, as encoding/json and msgpack for Go do, so a Go program reads back what it wrote, and Python gets a datetime.
# Truth    With the default options it is the whole seconds since 1970, cut off, without a tag. Go reads back a time that is up to a second
#          earlier, in the local zone; two tasks of one second have the same time; Python, JavaScript, and `any` in Go get an integer. What
#          is guessed needs EncOptions{Time: TimeRFC3339Nano, TimeTag: EncTagRequired}; CoreDetEncOptions cuts as well.
# Versions github.com/fxamacker/cbor/v2 2.10.0, github.com/vmihailenco/msgpack/v5 5.4.1 (Go), cbor2 6.3.0 (PyPI)
# Date     2026-11-30
# Source   observed; the comment of TimeUnix, which is the default TimeMode, has its precision of a second
# Output   of 12:00:00.987, cbor: 12:00:00.000 in Go, int in Python / with options: 12:00:00.987 in Go, datetime in Python / msgpack: 12:00:00.987
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet cbor2==6.3.0
cat >see.go <<'GO'
package main

import (
	"fmt"
	"os"
	"time"

	"github.com/fxamacker/cbor/v2"
	"github.com/vmihailenco/msgpack/v5"
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

type task struct{ At time.Time }

func show(name, file string, marshal func(any) ([]byte, error), unmarshal func([]byte, any) error) {
	data := must(marshal(task{time.Date(2026, time.November, 30, 12, 0, 0, 987_000_000, time.UTC)}))
	var back task
	if err := unmarshal(data, &back); err != nil {
		panic(err)
	}
	fmt.Printf("%s: %s in Go\n", name, back.At.UTC().Format("15:04:05.000"))
	if err := os.WriteFile(file, data, 0o600); err != nil {
		panic(err)
	}
}

func main() {
	deterministic := must(cbor.CoreDetEncOptions().EncMode())
	options := must(cbor.EncOptions{Time: cbor.TimeRFC3339Nano, TimeTag: cbor.EncTagRequired}.EncMode())
	show("cbor", "default", cbor.Marshal, cbor.Unmarshal)
	show("cbor, CoreDetEncOptions", "deterministic", deterministic.Marshal, cbor.Unmarshal)
	show("cbor with options", "options", options.Marshal, cbor.Unmarshal)
	show("msgpack", "msgpack", msgpack.Marshal, msgpack.Unmarshal)
}
GO
cat >see.py <<'PY'
import cbor2

for name in ("default", "deterministic", "options"):
    with open(name, "rb") as file:
        print(f"{name}: {type(cbor2.load(file)['At']).__name__} in Python")
PY
go mod init see 2>/dev/null && go get github.com/fxamacker/cbor/v2@v2.10.0 github.com/vmihailenco/msgpack/v5@v5.4.1 2>/dev/null
go run see.go | tee seen
py/bin/python see.py | tee -a seen
diff - seen <<'SEEN'
cbor: 12:00:00.000 in Go
cbor, CoreDetEncOptions: 12:00:00.000 in Go
cbor with options: 12:00:00.987 in Go
msgpack: 12:00:00.987 in Go
default: int in Python
deterministic: int in Python
options: datetime in Python
SEEN

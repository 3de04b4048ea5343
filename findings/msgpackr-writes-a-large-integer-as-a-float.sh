#!/usr/bin/env bash
# msgpackr and cbor-x write a time in milliseconds as a floating-point number, which Go refuses to read as an integer
#
# Guess    MessagePack and CBOR have 64-bit integers, and Date.now() is an integer. A field of it that JavaScript has packed is an int
#          in Python, and goes into an int64 in Go, as a small number does, and as with @msgpack/msgpack.
# Truth    From 2^32 on msgpackr writes a double. Python gets 1796014800000.0, which is "1796014800000.0" in a key or a log line; Go's
#          msgpack, asked for an int64, fails. 4294967295 is an integer still, so a test with small numbers, or with seconds, passes, and
#          an ID that counts up changes its type one day. cbor-x does the same, and fxamacker/cbor, which Kubernetes uses, fails
#          as well. BigInt(n) is written as an integer.
# Versions msgpackr 2.1.4, cbor-x 1.6.9, @msgpack/msgpack 3.1.3 with Node.js 24.21.0 (npm); msgpack 1.2.3, cbor2 6.3.0 (PyPI);
#          github.com/vmihailenco/msgpack/v5 5.4.1, github.com/fxamacker/cbor/v2 2.10.0 (Go)
# Date     2026-11-30
# Source   observed; the READMEs of msgpackr and cbor-x say of numbers that are no integers that they are written as doubles
# Output   msgpackr: below 2^32 an int in Python and Go, a time a float in Python and an error in Go, a BigInt an int in both /
#          @msgpack/msgpack: a time is an int in both / cbor-x: a time a float in Python and an error in Go
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet msgpack==1.2.3 cbor2==6.3.0
npm init -y >/dev/null && npm install --silent --no-fund --no-audit node@24.21.0 msgpackr@2.1.4 cbor-x@1.6.9 @msgpack/msgpack@3.1.3
cat >see.mjs <<'JS'
import * as cborX from 'cbor-x';
import { encode } from '@msgpack/msgpack';
import { pack } from 'msgpackr';
const time = Date.UTC(2026, 10, 30, 5);
const hex = (bytes) => Buffer.from(bytes).toString('hex');
console.log('msgpackr, below 2^32:', hex(pack(4294967295)));
console.log('msgpackr, a time:', hex(pack(time)));
console.log('msgpackr, as a BigInt:', hex(pack(BigInt(time))));
console.log('@msgpack/msgpack, a time:', hex(encode(time)));
console.log('cbor-x, a time:', hex(cborX.encode(time)));
JS
cat >see.py <<'PY'
import sys

import cbor2
import msgpack

for line in sys.stdin:
    name, text = line.strip().split(": ")
    decode = cbor2.loads if name.startswith("cbor") else msgpack.unpackb
    print(f"{name}: Python {decode(bytes.fromhex(text))}")
PY
cat >see.go <<'GO'
package main

import (
	"bufio"
	"encoding/hex"
	"fmt"
	"os"
	"strings"

	"github.com/fxamacker/cbor/v2"
	"github.com/vmihailenco/msgpack/v5"
)

func main() {
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		name, text, _ := strings.Cut(lines.Text(), ": ")
		bytes, err := hex.DecodeString(text)
		if err != nil {
			panic(err)
		}
		decode := msgpack.Unmarshal
		if strings.HasPrefix(name, "cbor") {
			decode = cbor.Unmarshal
		}
		var number int64
		if err := decode(bytes, &number); err != nil {
			fmt.Printf("%s: Go %s\n", name, err)
		} else {
			fmt.Printf("%s: Go %d\n", name, number)
		}
	}
}
GO
{
  go mod init see
  go get github.com/vmihailenco/msgpack/v5@v5.4.1 github.com/fxamacker/cbor/v2@v2.10.0
  go mod tidy
} >/dev/null 2>go.log
node_modules/.bin/node see.mjs >packed
{
  py/bin/python see.py <packed
  go run . <packed
} | tee seen
diff - seen <<'SEEN'
msgpackr, below 2^32: Python 4294967295
msgpackr, a time: Python 1796014800000.0
msgpackr, as a BigInt: Python 1796014800000
@msgpack/msgpack, a time: Python 1796014800000
cbor-x, a time: Python 1796014800000.0
msgpackr, below 2^32: Go 4294967295
msgpackr, a time: Go msgpack: invalid code=cb decoding int64
msgpackr, as a BigInt: Go 1796014800000
@msgpack/msgpack, a time: Go 1796014800000
cbor-x, a time: Go cbor: cannot unmarshal primitives into Go value of type int64
SEEN

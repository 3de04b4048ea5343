#!/usr/bin/env bash
# A quantity that is written as practically unlimited is stored by Kubernetes as 1
#
# Guess    "1000E" is a valid quantity. By the documentation of the type no quantity is greater than 2^63-1, and larger numbers are
#          capped, so it becomes 9223372036854775807, as 1000Ei does; or it stays what it is.
# Truth    Its canonical form, which is what is encoded and stored, is "1": there is no suffix for 10^21, and none is written. In
#          memory it still compares as greater than 9E; once it was encoded, it is smaller than 2. "1e21" stays, and its Value()
#          is 0. A quota of 1000E, for no limit, admits nothing.
# Versions k8s.io/apimachinery 0.37.2 (Go)
# Date     2026-11-29
# Source   observed, and on kube-apiserver 1.37.2, which stores a ResourceQuota of 1000E as 1; resource.Quantity documents the cap;
#          a mend was proposed in kubernetes/kubernetes#119855, in 2023
# Output   999E: encoded "999E" / 1000E: encoded "1", greater than 9E before, smaller than 2 after / 1000Ei: encoded
#          "9223372036854775807" / 1e21: encoded "1e21", Value() 0
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >see.go <<'GO'
package main

import (
	"encoding/json"
	"fmt"

	"k8s.io/apimachinery/pkg/api/resource"
)

func encode(q resource.Quantity) string {
	text, err := json.Marshal(q)
	if err != nil {
		panic(err)
	}
	return string(text)
}

func main() {
	fmt.Println("999E: encoded", encode(resource.MustParse("999E")))
	before := resource.MustParse("1000E")
	text := encode(before)
	var after resource.Quantity
	if err := json.Unmarshal([]byte(text), &after); err != nil {
		panic(err)
	}
	fmt.Println("1000E: encoded", text)
	fmt.Println("1000E: greater than 9E before:", before.Cmp(resource.MustParse("9E")) > 0)
	fmt.Println("1000E: smaller than 2 after:", after.Cmp(resource.MustParse("2")) < 0)
	fmt.Println("1000Ei: encoded", encode(resource.MustParse("1000Ei")))
	exponent := resource.MustParse("1e21")
	fmt.Println("1e21: encoded", encode(exponent), "Value()", exponent.Value())
}
GO
go mod init see 2>/dev/null && go get k8s.io/apimachinery/pkg/api/resource@v0.37.2 2>/dev/null
go run see.go | tee seen
diff - seen <<'SEEN'
999E: encoded "999E"
1000E: encoded "1"
1000E: greater than 9E before: true
1000E: smaller than 2 after: true
1000Ei: encoded "9223372036854775807"
1e21: encoded "1e21" Value() 0
SEEN

#!/usr/bin/env bash
# kubectl -o jsonpath prints the values of a map in another order each time
#
# Guess    '{.data.*}' prints a ConfigMap's values in the order of their keys, in which -o json and -o yaml and '{.data}' print them too;
#          at least, the same object is printed in the same way each time.
# Truth    Wildcards and recursive descent walk the Go map in its random order: two runs differ, and so do '{.data.*}' and '{.data.*}' in
#          one template. A script that reads keys by one expression and values by another pairs them wrongly, and a check that
#          compares two outputs sees a change where there is none.
# Versions k8s.io/client-go 0.37.2 (Go), the jsonpath of kubectl 1.37
# Date     2026-11-29
# Source   observed; util/jsonpath of client-go ranges over MapKeys() where it meets a map
# Output   {.data}: 1 text in 100 runs / {.data.*}: several texts in 100 runs / {..replicas}: several texts in 100 runs
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >see.go <<'GO'
package main

import (
	"bytes"
	"encoding/json"
	"fmt"

	"k8s.io/client-go/util/jsonpath"
)

const object = `{
  "data": { "a": "1", "b": "2", "c": "3", "d": "4", "e": "5" },
  "spec": { "replicas": 5 }, "status": { "replicas": 4 }
}`

func main() {
	var value any
	if err := json.Unmarshal([]byte(object), &value); err != nil {
		panic(err)
	}
	for _, template := range []string{"{.data}", "{.data.*}", "{..replicas}"} {
		texts := map[string]bool{}
		for range 100 {
			path := jsonpath.New("")
			if err := path.Parse(template); err != nil {
				panic(err)
			}
			var text bytes.Buffer
			if err := path.Execute(&text, value); err != nil {
				panic(err)
			}
			texts[text.String()] = true
		}
		count := "several texts"
		if len(texts) == 1 {
			count = "1 text"
		}
		fmt.Printf("%s: %s in 100 runs\n", template, count)
	}
}
GO
go mod init see 2>/dev/null && go get k8s.io/client-go/util/jsonpath@v0.37.2 2>/dev/null
go run see.go | tee seen
diff - seen <<'SEEN'
{.data}: 1 text in 100 runs
{.data.*}: several texts in 100 runs
{..replicas}: several texts in 100 runs
SEEN

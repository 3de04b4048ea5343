#!/usr/bin/env bash
# In a Helm chart, `duration .Values.timeout` is 1m30s with --set timeout=90, and 0s with timeout: 90 in values.yaml
#
# Guess    `duration` makes a duration of a number of seconds, for a Go program's flag or file. Its example has the number in quotes; 90 of
#          values.yaml is 1m30s all the same, as `quote`, `int` and `add` take any number.
# Truth    It takes a string or an int64, and is 0s for any other number, without an error. A number in values.yaml is a float64, one in a
#          template an int, and `int` makes an int: all 0s. So a chart that is tried with --set gives every program its timeout, and installed
#          with a values file a timeout of zero, which is none or an immediate one. `int64`, or `toString`, before it helps. A duration with
#          a fraction, 1.5, is 0s in each case.
# Versions helm.sh/helm/v4 4.3.1 with github.com/Masterminds/sprig/v3 3.3.0 (Go); seen alike with Helm 3.22.0
# Date     2026-11-30
# Source   observed; Helm's and Sprig's documentation of duration has "a given amount of seconds", and an example in quotes
# Output   .Values.timeout | duration: file 0s, set 1m30s / with int before it: 0s, 0s / int64: 1m30s, 1m30s / toString: 1m30s, 1m30s /
#          duration 90: 0s, 0s
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
cat >see.go <<'GO'
package main

import (
	"fmt"

	"helm.sh/helm/v4/pkg/chart/common"
	"helm.sh/helm/v4/pkg/chart/common/util"
	chart "helm.sh/helm/v4/pkg/chart/v2"
	"helm.sh/helm/v4/pkg/engine"
	"helm.sh/helm/v4/pkg/strvals"
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func render(text string, values map[string]any) string {
	one := &chart.Chart{
		Metadata:  &chart.Metadata{Name: "see", Version: "1.0.0", APIVersion: "v2"},
		Templates: []*common.File{{Name: "templates/see", Data: []byte(text)}},
	}
	with := must(util.ToRenderValues(one, values, common.ReleaseOptions{}, nil))
	return must(engine.Render(one, with))["see/templates/see"]
}

func main() {
	file := must(common.ReadValues([]byte("timeout: 90\n")))
	set := must(strvals.Parse("timeout=90"))
	for _, text := range []string{
		`.Values.timeout | duration`,
		`.Values.timeout | int | duration`,
		`.Values.timeout | int64 | duration`,
		`.Values.timeout | toString | duration`,
		`duration 90`,
		`duration "90"`,
	} {
		template := "{{ " + text + " }}"
		fmt.Printf("%s: file %s, set %s\n", text, render(template, file), render(template, set))
	}
}
GO
go mod init see 2>/dev/null && go get helm.sh/helm/v4@v4.3.1 github.com/Masterminds/sprig/v3@v3.3.0 2>/dev/null && go mod tidy 2>/dev/null
go run see.go | tee seen
diff - seen <<'SEEN'
.Values.timeout | duration: file 0s, set 1m30s
.Values.timeout | int | duration: file 0s, set 0s
.Values.timeout | int64 | duration: file 1m30s, set 1m30s
.Values.timeout | toString | duration: file 1m30s, set 1m30s
duration 90: file 0s, set 0s
duration "90": file 1m30s, set 1m30s
SEEN

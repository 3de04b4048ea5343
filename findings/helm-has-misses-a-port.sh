#!/usr/bin/env bash
# In a Helm chart, `has 443 .Values.ports` is false for a list with 443 in it, and what is true with values.yaml is false with --set
#
# Guess    `has` says whether a list has an item; the example of its documentation has numbers. A chart that adds a TLS port `if has 443
#          .Values.ports` does so for ports: [80, 443], wherever these come from.
# Truth    `has` compares types as well. A number in a template is an int, in values.yaml a float64, and after --set an int64, so `has 443` is
#          false for both, without an error. `has 443.0` finds what comes from the file, `has (int64 443)` what comes from --set, and nothing
#          finds both, but a list of strings. `without` removes nothing, and `uniq` keeps two of one. Only list and item from the same
#          source agree.
# Versions helm.sh/helm/v4 4.3.1 with github.com/Masterminds/sprig/v3 3.3.0 (Go); seen alike with Helm 3.22.0
# Date     2026-11-30
# Source   observed; Helm's documentation of has, without and uniq does not speak of types
# Output   has 443: file false, set false / has 443.0: true, false / has (int64 443): false, true / without .Values.ports 443: [80 443], [80 443] /
#          has (toString 443) (toStrings .Values.ports): true, true
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
	file := must(common.ReadValues([]byte("ports: [80, 443]\nport: 443\n")))
	set := must(strvals.Parse("ports={80,443},port=443"))
	for _, text := range []string{
		`has 443 .Values.ports`,
		`has 443.0 .Values.ports`,
		`has (int64 443) .Values.ports`,
		`without .Values.ports 443`,
		`append .Values.ports 443 | uniq`,
		`has .Values.port .Values.ports`,
		`has (toString 443) (toStrings .Values.ports)`,
	} {
		template := "{{ " + text + " }}"
		fmt.Printf("%s: file %s, set %s\n", text, render(template, file), render(template, set))
	}
}
GO
go mod init see 2>/dev/null && go get helm.sh/helm/v4@v4.3.1 github.com/Masterminds/sprig/v3@v3.3.0 2>/dev/null && go mod tidy 2>/dev/null
go run see.go | tee seen
diff - seen <<'SEEN'
has 443 .Values.ports: file false, set false
has 443.0 .Values.ports: file true, set false
has (int64 443) .Values.ports: file false, set true
without .Values.ports 443: file [80 443], set [80 443]
append .Values.ports 443 | uniq: file [80 443 443], set [80 443 443]
has .Values.port .Values.ports: file true, set true
has (toString 443) (toStrings .Values.ports): file true, set true
SEEN

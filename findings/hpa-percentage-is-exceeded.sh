#!/usr/bin/env bash
# A HorizontalPodAutoscaler that may remove 80 % of ten pods removes nine, and one that may add 10 % to 100 adds 11
#
# Guess    A policy of type Percent limits a change to that share of the replicas at the start of the period. What is no whole number of pods
#          is rounded; 80 % of 10, 30 % of 90 and 10 % of 100 are whole, so the limits are 2, 63 and 110, and nothing is rounded.
# Truth    They are 1, 62 and 111. The share is turned into a factor of floating point first: 1 - 0.8 is a little under 0.2, 10 times that is cut
#          off to 1; 100 * 1.1 is a little over 110, and rounded up. Of the 2,600 pairs of up to 500 pods and a percentage whose limit is
#          a whole number, 104 are exceeded on the way up and 314 on the way down.
# Versions k8s.io/kubernetes 1.37.2 (Go; the functions of kube-controller-manager, taken out of its source by the script)
# Date     2026-11-30
# Source   observed, and calculateScaleUpLimitWithScalingRules in pkg/controller/podautoscaler/horizontal.go; the documentation's own example
#          rounds up 10 % of 72 (7.2), and is met
# Output   up 10 %: 80 to 88, 100 to 111, 200 to 221 / down 80 %: 5 to 0, 10 to 1 / down 30 %: 90 to 62 / up to 500 replicas: 2600 whole
#          limits, 104 exceeded up and 314 down
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
go mod init see >/dev/null 2>&1
source=$(go mod download -json k8s.io/kubernetes@v1.37.2 | python3 -c 'import json, sys; print(json.load(sys.stdin)["Dir"])')
mkdir take
cat >take/take.go <<'GO'
// Writes the named functions and types of a file, as they stand, as a file of package main.
package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
)

func main() {
	text, err := os.ReadFile(os.Args[1])
	if err != nil {
		panic(err)
	}
	files := token.NewFileSet()
	file, err := parser.ParseFile(files, os.Args[1], text, 0)
	if err != nil {
		panic(err)
	}
	wanted := map[string]bool{}
	for _, name := range os.Args[2:] {
		wanted[name] = true
	}
	fmt.Println("package main\nimport (\n\"math\"\n\"time\"\nautoscalingv2 \"k8s.io/api/autoscaling/v2\"\n)")
	for _, declaration := range file.Decls {
		name := ""
		switch it := declaration.(type) {
		case *ast.FuncDecl:
			name = it.Name.Name
		case *ast.GenDecl:
			if it.Tok == token.TYPE {
				name = it.Specs[0].(*ast.TypeSpec).Name.Name
			}
		}
		if wanted[name] {
			fmt.Printf("\n%s\n", text[files.Position(declaration.Pos()).Offset:files.Position(declaration.End()).Offset])
		}
	}
}
GO
go run ./take "$source/pkg/controller/podautoscaler/horizontal.go" timestampedScaleEvent getReplicasChangePerPeriod maxInt32 minInt32 \
  calculateScaleUpLimitWithScalingRules calculateScaleDownLimitWithBehaviors >limits.go
cat >see.go <<'GO'
package main

import (
	"fmt"

	autoscalingv2 "k8s.io/api/autoscaling/v2"
)

func rules(percent int32) *autoscalingv2.HPAScalingRules {
	most := autoscalingv2.MaxChangePolicySelect
	policy := autoscalingv2.HPAScalingPolicy{Type: autoscalingv2.PercentScalingPolicy, Value: percent, PeriodSeconds: 60}
	return &autoscalingv2.HPAScalingRules{SelectPolicy: &most, Policies: []autoscalingv2.HPAScalingPolicy{policy}}
}

func up(replicas, percent int32) int32 {
	return calculateScaleUpLimitWithScalingRules(replicas, nil, nil, rules(percent))
}

func down(replicas, percent int32) int32 {
	return calculateScaleDownLimitWithBehaviors(replicas, nil, nil, rules(percent))
}

func main() {
	fmt.Printf("up 10 %%: 80 to %d, 100 to %d, 200 to %d\n", up(80, 10), up(100, 10), up(200, 10))
	fmt.Printf("down 80 %%: 5 to %d, 10 to %d\n", down(5, 80), down(10, 80))
	fmt.Printf("down 30 %%: 90 to %d\n", down(90, 30))
	whole, over, under := 0, 0, 0
	for replicas := int32(1); replicas <= 500; replicas++ {
		for percent := int32(1); percent <= 100; percent++ {
			if replicas*percent%100 != 0 {
				continue
			}
			whole++
			if up(replicas, percent) != replicas+replicas*percent/100 {
				over++
			}
			if down(replicas, percent) != replicas-replicas*percent/100 {
				under++
			}
		}
	}
	fmt.Printf("up to 500 replicas: %d whole limits, %d exceeded up and %d down\n", whole, over, under)
}
GO
go get k8s.io/api@v0.37.2 >/dev/null 2>&1
go mod tidy >/dev/null 2>&1
go run . | tee seen
diff - seen <<'SEEN'
up 10 %: 80 to 88, 100 to 111, 200 to 221
down 80 %: 5 to 0, 10 to 1
down 30 %: 90 to 62
up to 500 replicas: 2600 whole limits, 104 exceeded up and 314 down
SEEN

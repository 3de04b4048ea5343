// KEDA's own code for an external-push trigger, as its operator runs it: one scaler, made from the JSON in the first argument. It
// prints a line of JSON for each push, and one for each line of standard input: "spec", or "metrics NAME".
//
// The package scalers is not here: its files for external scalers are taken out of KEDA's module (test/support/keda.ts). The whole of it has
// the client libraries of every other scaler, too.
package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"

	"github.com/go-logr/logr/funcr"
	"github.com/kedacore/keda/v2/pkg/scalers/scalersconfig"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"millrace.dev/keda-caller/scalers"
)

type trigger struct {
	Namespace string            `json:"namespace"`
	Name      string            `json:"name"`
	Metadata  map[string]string `json:"metadata"`
	Auth      map[string]string `json:"auth"`
}

type answer struct {
	Push   *bool              `json:"push,omitempty"`
	Specs  map[string]string  `json:"specs,omitempty"`
	Values map[string]float64 `json:"values,omitempty"`
	Active *bool              `json:"active,omitempty"`
	Error  string             `json:"error,omitempty"`
}

func print(line answer) {
	text, err := json.Marshal(line)
	if err != nil {
		panic(err)
	}
	fmt.Println(string(text))
}

func main() {
	var wanted trigger
	if err := json.Unmarshal([]byte(os.Args[1]), &wanted); err != nil {
		panic(err)
	}
	log.SetLogger(funcr.New(func(prefix, args string) {
		fmt.Fprintln(os.Stderr, prefix, args)
	}, funcr.Options{LogTimestamp: true}))
	scaler, err := scalers.NewExternalPushScaler(&scalersconfig.ScalerConfig{
		ScalableObjectName:      wanted.Name,
		ScalableObjectNamespace: wanted.Namespace,
		ScalableObjectType:      "ScaledObject",
		TriggerMetadata:         wanted.Metadata,
		AuthParams:              wanted.Auth,
		ResolvedEnv:             map[string]string{},
	})
	if err != nil {
		panic(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	active := make(chan bool)
	go scaler.Run(ctx, active)
	lines := make(chan string)
	go func() {
		defer close(lines)
		input := bufio.NewScanner(os.Stdin)
		for input.Scan() {
			lines <- input.Text()
		}
	}()
	for {
		select {
		case isActive, open := <-active:
			if !open {
				return
			}
			print(answer{Push: &isActive})
		case line, open := <-lines:
			if !open {
				return
			}
			print(reply(ctx, scaler, line))
		}
	}
}

func reply(ctx context.Context, scaler scalers.PushScaler, line string) answer {
	command, metric, _ := strings.Cut(line, " ")
	switch command {
	case "spec":
		specs := map[string]string{}
		for _, spec := range scaler.GetMetricSpecForScaling(ctx) {
			specs[spec.External.Metric.Name] = spec.External.Target.AverageValue.String()
		}
		return answer{Specs: specs}
	case "metrics":
		found, isActive, err := scaler.GetMetricsAndActivity(ctx, metric)
		if err != nil {
			return answer{Error: err.Error()}
		}
		values := map[string]float64{}
		for _, value := range found {
			values[value.MetricName] = value.Value.AsApproximateFloat64()
		}
		return answer{Values: values, Active: &isActive}
	}
	return answer{Error: "no such command: " + command}
}

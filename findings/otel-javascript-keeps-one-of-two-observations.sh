#!/usr/bin/env bash
# OpenTelemetry for JavaScript: a view that drops an attribute of an observable counter leaves one of its values, not their sum
#
# Guess    A view keeps `queue` and drops `pod`, to have fewer series. A counter that is 3 for one pod and 4 for another is then 7 for their queue,
#          whether it is a counter with add() or an observable one with a callback, as the specification has it for both.
# Truth    Of an observable counter JavaScript keeps whatever the callback has observed last: 4. It falls and rises with the order of the loop in
#          the callback, and a counter that falls is a restart to Prometheus, so rates are invented. Observable up-down counters are the same;
#          a counter with add() is 7. Go and Python say 7 for all three.
# Versions @opentelemetry/sdk-metrics 2.12.1 with Node.js 24.21.0 (npm); opentelemetry-sdk 1.45.2 (PyPI); go.opentelemetry.io/otel/sdk/metric
#          1.47.0 (Go)
# Date     2026-11-30
# Source   observed; open-telemetry/opentelemetry-specification#2905 settles the sum; Go, Java and Python mended theirs (opentelemetry-go#3439,
#          opentelemetry-java#4901, opentelemetry-python#3008)
# Output   JavaScript: counter 7, observable counter 4, observable up-down counter 4 / Python and Go: 7, 7, 7
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet opentelemetry-sdk==1.45.2
npm init -y >/dev/null
npm install --silent --no-fund --no-audit node@24.21.0 @opentelemetry/api@1.9.1 @opentelemetry/sdk-metrics@2.12.1
export PATH="$work/node_modules/.bin:$PATH"
cat >see.mjs <<'JS'
import {
  AggregationTemporality,
  createAllowListAttributesProcessor,
  InMemoryMetricExporter,
  MeterProvider,
  PeriodicExportingMetricReader,
} from '@opentelemetry/sdk-metrics';

const exporter = new InMemoryMetricExporter(AggregationTemporality.CUMULATIVE);
const reader = new PeriodicExportingMetricReader({ exporter, exportIntervalMillis: 3_600_000 });
const views = [{ instrumentName: '*', attributesProcessors: [createAllowListAttributesProcessor(['queue'])] }];
const meter = new MeterProvider({ readers: [reader], views }).getMeter('see');
const tasks = [
  [3, { queue: 'mail', pod: 'a' }],
  [4, { queue: 'mail', pod: 'b' }],
];
const observe = (result) => tasks.forEach(([count, attributes]) => result.observe(count, attributes));

const counter = meter.createCounter('counter');
tasks.forEach(([count, attributes]) => counter.add(count, attributes));
meter.createObservableCounter('observable counter').addCallback(observe);
meter.createObservableUpDownCounter('observable up-down counter').addCallback(observe);
await reader.forceFlush();
const { metrics } = exporter.getMetrics()[0].scopeMetrics[0];
const values = new Map(metrics.map((metric) => [metric.descriptor.name, metric.dataPoints.map((point) => point.value).join(' ')]));
for (const name of ['counter', 'observable counter', 'observable up-down counter']) {
  console.log(`JavaScript, ${name}: ${values.get(name)}`);
}
await reader.shutdown();
JS
cat >see.py <<'PY'
from opentelemetry.metrics import Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.metrics.view import View

reader = InMemoryMetricReader()
meter = MeterProvider([reader], views=[View(instrument_name="*", attribute_keys={"queue"})]).get_meter("see")
tasks = [(3, {"queue": "mail", "pod": "a"}), (4, {"queue": "mail", "pod": "b"})]


def observe(options):
    return [Observation(count, attributes) for count, attributes in tasks]


counter = meter.create_counter("counter")
for count, attributes in tasks:
    counter.add(count, attributes)
meter.create_observable_counter("observable_counter", [observe])
meter.create_observable_up_down_counter("observable_up_down_counter", [observe])
metrics = reader.get_metrics_data().resource_metrics[0].scope_metrics[0].metrics
values = {metric.name: " ".join(str(point.value) for point in metric.data.data_points) for metric in metrics}
for name in ("counter", "observable counter", "observable up-down counter"):
    print(f"Python, {name}: {values[name.replace(' ', '_').replace('-', '_')]}")
PY
cat >see.go <<'GO'
package main

import (
	"context"
	"fmt"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

func must[T any](value T, err error) T {
	if err != nil {
		panic(err)
	}
	return value
}

func main() {
	reader := sdk.NewManualReader()
	view := sdk.NewView(sdk.Instrument{Name: "*"}, sdk.Stream{AttributeFilter: attribute.NewAllowKeysFilter("queue")})
	meter := sdk.NewMeterProvider(sdk.WithReader(reader), sdk.WithView(view)).Meter("see")
	a := metric.WithAttributes(attribute.String("queue", "mail"), attribute.String("pod", "a"))
	b := metric.WithAttributes(attribute.String("queue", "mail"), attribute.String("pod", "b"))
	observe := metric.WithInt64Callback(func(_ context.Context, observer metric.Int64Observer) error {
		observer.Observe(3, a)
		observer.Observe(4, b)
		return nil
	})
	counter := must(meter.Int64Counter("counter"))
	counter.Add(context.Background(), 3, a)
	counter.Add(context.Background(), 4, b)
	must(meter.Int64ObservableCounter("observable_counter", observe))
	must(meter.Int64ObservableUpDownCounter("observable_up_down_counter", observe))
	var seen metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &seen); err != nil {
		panic(err)
	}
	values := map[string]string{}
	for _, one := range seen.ScopeMetrics[0].Metrics {
		for _, point := range one.Data.(metricdata.Sum[int64]).DataPoints {
			values[one.Name] += fmt.Sprint(point.Value)
		}
	}
	fmt.Println("Go, counter:", values["counter"])
	fmt.Println("Go, observable counter:", values["observable_counter"])
	fmt.Println("Go, observable up-down counter:", values["observable_up_down_counter"])
}
GO
go mod init see 2>/dev/null && go get go.opentelemetry.io/otel/sdk/metric@v1.47.0 go.opentelemetry.io/otel@v1.47.0 go.opentelemetry.io/otel/metric@v1.47.0 2>/dev/null
node see.mjs | tee seen
py/bin/python see.py | tee -a seen
go run see.go | tee -a seen
diff - seen <<'SEEN'
JavaScript, counter: 7
JavaScript, observable counter: 4
JavaScript, observable up-down counter: 4
Python, counter: 7
Python, observable counter: 7
Python, observable up-down counter: 7
Go, counter: 7
Go, observable counter: 7
Go, observable up-down counter: 7
SEEN

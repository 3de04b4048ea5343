#!/usr/bin/env bash
# OpenTelemetry for Python: what two libraries measure under one name is exposed to Prometheus with the values of labels under wrong names
#
# Guess    Two instrumented libraries may each have a meter with the same instrument: http.client.request.duration is a standard name. Their
#          points have different attributes, and the exporter labels each point with its own; otel_scope_name tells them apart.
# Truth    The label names of the meter that comes first are used for both, and the values of the other are filled in by position. Here the
#          status 500 is the name of the library, that name is its schema URL, and no series has a status: an alert on 500 sees none. The
#          exporter for Go labels each point with its own. Points of one meter with different attributes, once mixed up as well, are right.
# Versions opentelemetry-exporter-prometheus 0.66b2, opentelemetry-sdk 1.45.2, prometheus_client 0.26.0 (PyPI);
#          go.opentelemetry.io/otel/exporters/prometheus 0.69.0 (Go)
# Date     2026-11-30
# Source   observed, and the families by name, description and unit in opentelemetry/exporter/prometheus;
#          open-telemetry/opentelemetry-python#3391 and #4418 are of points of one meter
# Output   Go: GET, requests, api / POST, 500, urllib3 / Python: GET, requests, api / POST, otel_scope_name="500",
#          otel_scope_schema_url="urllib3"
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py
py/bin/pip install --quiet opentelemetry-exporter-prometheus==0.66b2 opentelemetry-sdk==1.45.2 prometheus_client==0.26.0
cat >see.py <<'PY'
from opentelemetry.exporter.prometheus import PrometheusMetricReader
from opentelemetry.sdk.metrics import MeterProvider
from prometheus_client import REGISTRY
from prometheus_client.exposition import generate_latest

provider = MeterProvider(metric_readers=[PrometheusMetricReader(disable_target_info=True)])
measured = {
    "requests": {"http.request.method": "GET", "server.address": "api"},
    "urllib3": {"http.request.method": "POST", "http.response.status_code": 500},
}
for library, attributes in measured.items():
    duration = provider.get_meter(library).create_histogram("http.client.request.duration", "s", "Duration of HTTP client requests.")
    duration.record(0.2, attributes)
for line in generate_latest(REGISTRY).decode().splitlines():
    if line.startswith("http_client_request_duration_seconds_count"):
        print(line)
PY
cat >see.go <<'GO'
package main

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"go.opentelemetry.io/otel/attribute"
	exporter "go.opentelemetry.io/otel/exporters/prometheus"
	"go.opentelemetry.io/otel/metric"
	sdk "go.opentelemetry.io/otel/sdk/metric"
)

func main() {
	registry := prometheus.NewRegistry()
	reader, err := exporter.New(exporter.WithRegisterer(registry), exporter.WithoutTargetInfo())
	if err != nil {
		panic(err)
	}
	provider := sdk.NewMeterProvider(sdk.WithReader(reader))
	record := func(library string, attributes ...attribute.KeyValue) {
		duration, err := provider.Meter(library).Float64Histogram("http.client.request.duration",
			metric.WithUnit("s"), metric.WithDescription("Duration of HTTP client requests."))
		if err != nil {
			panic(err)
		}
		duration.Record(context.Background(), 0.2, metric.WithAttributes(attributes...))
	}
	record("requests", attribute.String("http.request.method", "GET"), attribute.String("server.address", "api"))
	record("urllib3", attribute.String("http.request.method", "POST"), attribute.Int("http.response.status_code", 500))
	answer := httptest.NewRecorder()
	promhttp.HandlerFor(registry, promhttp.HandlerOpts{}).ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, line := range strings.Split(answer.Body.String(), "\n") {
		if strings.HasPrefix(line, "http_client_request_duration_seconds_count") {
			fmt.Println(line)
		}
	}
}
GO
{
  go mod init see
  go get go.opentelemetry.io/otel/exporters/prometheus@v0.69.0
  go mod tidy
} >/dev/null 2>go.log
# without the labels that are empty, and the rest of the name
shorten() { sed -E 's/^[a-z_]+_count\{//; s/[a-z_]+=""(,|\})/\1/g; s/,+/,/g; s/,?\}.*//'; }
{
  echo 'Go'
  go run . | shorten
  echo 'Python'
  py/bin/python see.py | shorten
} | tee seen
diff - seen <<'SEEN'
Go
http_request_method="GET",otel_scope_name="requests",server_address="api"
http_request_method="POST",http_response_status_code="500",otel_scope_name="urllib3"
Python
http_request_method="GET",otel_scope_name="requests",server_address="api"
http_request_method="POST",otel_scope_name="500",otel_scope_schema_url="urllib3"
SEEN

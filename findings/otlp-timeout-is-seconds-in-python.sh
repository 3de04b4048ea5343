#!/usr/bin/env bash
# OpenTelemetry: with OTEL_EXPORTER_OTLP_TIMEOUT=1000, JavaScript gives up on a silent collector after a second, and Python does not
#
# Guess    The variable is the same for all languages, in milliseconds, as the specification has it, and as the specification's default is 10000.
#          One ConfigMap for workers in JavaScript and Python gives both a second.
# Truth    Python's exporters read it as seconds, with 10 as their default. 1000 is then more than a quarter of an hour in which the thread that
#          exports waits for one collector that answers nothing, and 10000, the default of the specification written out, is almost three
#          hours. What is right for Python, 1, is a millisecond for the others, in which no export succeeds.
# Versions opentelemetry-exporter-otlp-proto-http 1.45.2 (PyPI), @opentelemetry/exporter-trace-otlp-http 0.223.1 (npm)
# Date     2026-11-30
# Source   observed, for ten seconds; open-telemetry/opentelemetry-python#4044, open since 2024, reports the unit
# Output   JavaScript, 1000: gave up / Python, 1000: still waits after ten seconds / Python, 1: gave up
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet opentelemetry-sdk==1.45.2 opentelemetry-exporter-otlp-proto-http==1.45.2
npm init -y >/dev/null
npm install --silent --no-fund --no-audit node@24.21.0 @opentelemetry/api@1.9.1 @opentelemetry/sdk-trace-base@2.12.1 \
  @opentelemetry/exporter-trace-otlp-http@0.223.1
export PATH="$work/node_modules/.bin:$PATH"
cat >see.mjs <<'JS'
import { once } from 'node:events';
import { createServer } from 'node:http';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { BasicTracerProvider, InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace-base';

const silent = createServer(() => {}).listen(0, '127.0.0.1');
await once(silent, 'listening');
const memory = new InMemorySpanExporter();
const provider = new BasicTracerProvider({ spanProcessors: [new SimpleSpanProcessor(memory)] });
provider.getTracer('see').startSpan('task').end();
await provider.forceFlush();
const exporter = new OTLPTraceExporter({ url: `http://127.0.0.1:${silent.address().port}/v1/traces` });
const waits = setTimeout(() => end('still waits after ten seconds'), 10_000);
exporter.export(memory.getFinishedSpans(), () => end('gave up'));

function end(how) {
  clearTimeout(waits);
  console.log(`JavaScript, ${process.env.OTEL_EXPORTER_OTLP_TIMEOUT}: ${how}`);
  process.exit();
}
JS
cat >see.py <<'PY'
import logging
import os
import socket
import sys
import threading

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor

logging.disable()
silent = socket.create_server(("127.0.0.1", 0))
provider = TracerProvider()
exporter = OTLPSpanExporter(endpoint=f"http://127.0.0.1:{silent.getsockname()[1]}/v1/traces")
provider.add_span_processor(SimpleSpanProcessor(exporter))
export = threading.Thread(target=lambda: provider.get_tracer("see").start_span("task").end(), daemon=True)
export.start()
export.join(10)
how = "still waits after ten seconds" if export.is_alive() else "gave up"
print(f"Python, {os.environ['OTEL_EXPORTER_OTLP_TIMEOUT']}: {how}")
sys.stdout.flush()
os._exit(0)
PY
OTEL_EXPORTER_OTLP_TIMEOUT=1000 node see.mjs | tee seen
OTEL_EXPORTER_OTLP_TIMEOUT=1000 timeout 60 py/bin/python see.py | tee -a seen
OTEL_EXPORTER_OTLP_TIMEOUT=1 timeout 60 py/bin/python see.py | tee -a seen
diff - seen <<'SEEN'
JavaScript, 1000: gave up
Python, 1000: still waits after ten seconds
Python, 1: gave up
SEEN

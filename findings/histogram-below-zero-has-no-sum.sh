#!/usr/bin/env bash
# Python's prometheus_client leaves out the _sum of a histogram that has a bucket below zero
#
# Guess    A Prometheus histogram has _bucket, _count and _sum. One of signed values (how early or late a run was, in seconds) has them as
#          well, so rate(x_sum) / rate(x_count) is its mean, in a Python exporter as in one for Node.js.
# Truth    With a lower bound below zero Python exposes no _sum at all, in the classic text format as in OpenMetrics, which forbids it
#          (a sum that can fall is no counter). The mean of that panel is an empty result, not an error. prom-client exposes the sum. What
#          counts is the bounds, not what was observed: the same values with bounds from zero up have a sum, which may fall.
# Versions prometheus_client 0.26.0 (PyPI), prom-client 15.1.3 (npm)
# Date     2026-11-29
# Source   observed; the README of prometheus_client does not mention it
# Output   prometheus_client, bounds from -60: count 2 / prometheus_client, bounds from 0: count 2, sum -20 /
#          prom-client, bounds from -60: count 2, sum -20
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet prometheus_client==0.26.0
npm init -y >/dev/null && npm install --silent --no-fund --no-audit prom-client@15.1.3
cat >see.py <<'PY'
from prometheus_client import CollectorRegistry, Histogram, generate_latest

for bounds in ((-60, 0, 60), (0, 60)):
    registry = CollectorRegistry()
    late = Histogram("late_seconds", "How late a run was", buckets=bounds, registry=registry)
    late.observe(10)
    late.observe(-30)
    lines = generate_latest(registry).decode().splitlines()
    values = {line.split()[0]: float(line.split()[1]) for line in lines if not line.startswith("#")}
    shown = [f"{part} {values[f'late_seconds_{part}']:g}" for part in ("count", "sum") if f"late_seconds_{part}" in values]
    print(f"prometheus_client, bounds from {bounds[0]}: {', '.join(shown)}")
PY
cat >see.mjs <<'JS'
import { Histogram, Registry } from 'prom-client';

const registry = new Registry();
const late = new Histogram({ name: 'late_seconds', help: 'How late a run was', buckets: [-60, 0, 60], registers: [registry] });
late.observe(10);
late.observe(-30);
const shown = (await registry.metrics()).split('\n').filter((line) => /^late_seconds_(count|sum) /.test(line));
const parts = shown.map((line) => line.replace('late_seconds_', '')).toSorted();
console.log(`prom-client, bounds from -60: ${parts.join(', ')}`);
JS
py/bin/python see.py | tee seen
node see.mjs | tee -a seen
diff - seen <<'SEEN'
prometheus_client, bounds from -60: count 2
prometheus_client, bounds from 0: count 2, sum -20
prom-client, bounds from -60: count 2, sum -20
SEEN

#!/usr/bin/env bash
# parse-prometheus-text-format makes one histogram of those of all queues: the last queue's, without its name, count and sum
#
# Guess    The package means to be compatible with prom2json: of a histogram with a label `queue` it returns one entry for each queue, with its
#          labels, buckets, count and sum, as it returns one for each label set of a counter.
# Truth    It returns one entry in all. Each queue's buckets write over those of the one before it, so what remains is the last queue of the
#          page; its label is left out, and so are count and sum. Summaries are the same. No error, and the shape is that of a histogram
#          without labels, which is read in full, so a check that works for a metric of a whole process answers for a random queue.
# Versions parse-prometheus-text-format 1.1.1, prom-client 15.1.3 (npm); prometheus_client 0.26.0 (PyPI)
# Date     2026-11-30
# Source   observed; its README has an example of a histogram without labels, and of a summary with some, whose output it does not explain
# Output   two queues, three and one task: 1 entry, no labels, +Inf bucket 1, no count / without labels: +Inf bucket 1, count 1 / Python's parser:
#          mail 3, sms 1
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet prometheus_client==0.26.0
npm init -y >/dev/null && npm install --silent --no-fund --no-audit parse-prometheus-text-format@1.1.1 prom-client@15.1.3
cat >see.mjs <<'JS'
import { writeFileSync } from 'node:fs';
import parse from 'parse-prometheus-text-format';
import { Histogram, Registry } from 'prom-client';

const register = new Registry();
const wait = new Histogram({ name: 'wait_seconds', help: 'wait', labelNames: ['queue'], buckets: [1, 10], registers: [register] });
for (const seconds of [0.5, 0.5, 5]) wait.observe({ queue: 'mail' }, seconds);
wait.observe({ queue: 'sms' }, 5);
const start = new Histogram({ name: 'start_seconds', help: 'start', buckets: [1, 10], registers: [register] });
start.observe(5);
const page = await register.metrics();
writeFileSync('page', page);
for (const { name, metrics } of parse(page)) {
  for (const { labels, buckets, count, sum } of metrics) {
    console.log(`${name}: labels ${JSON.stringify(labels)}, buckets ${JSON.stringify(buckets)}, count ${count}, sum ${sum}`);
  }
}
JS
cat >see.py <<'PY'
from prometheus_client.parser import text_string_to_metric_families

for family in text_string_to_metric_families(open("page").read()):
    for sample in family.samples:
        if sample.name == "wait_seconds_count":
            print(f"Python, {sample.labels['queue']}: count {sample.value:g}")
PY
node see.mjs | tee seen
py/bin/python see.py | tee -a seen
diff - seen <<'SEEN'
wait_seconds: labels undefined, buckets {"1":"0","10":"1","+Inf":"1"}, count undefined, sum undefined
start_seconds: labels undefined, buckets {"1":"0","10":"1","+Inf":"1"}, count 1, sum 5
Python, mail: count 3
Python, sms: count 1
SEEN

#!/usr/bin/env bash
# Adds up a few invoices. PORT is where the application listens.
# shellcheck source=../dev.sh
. "$(dirname "$0")/../dev.sh"
export PORT=${PORT:-9000}
start_pool --http "http://127.0.0.1:$PORT/run" --concurrency 8
node "$(dirname "$0")/server.ts" &
application=$!
trap 'kill "$application" "$pool" 2>/dev/null; wait' EXIT
millrace enqueue --stdin >/dev/null <<TASKS
{"id":"invoice-1","tax":19,"lines":[{"quantity":3,"cents":1250},{"quantity":1,"cents":999}]}
{"id":"invoice-2","tax":7,"lines":[{"quantity":12,"cents":89}]}
{"id":"invoice-3","tax":19,"lines":"none"}
TASKS
millrace result invoice-1
echo
millrace result invoice-2
echo
millrace result invoice-3 || millrace dead list

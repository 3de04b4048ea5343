#!/usr/bin/env bash
# shellcheck source=../dev.sh
. "$(dirname "$0")/../dev.sh"
here=$(dirname "$0")
start_pool --pool "$here/pool.yaml" --max 1 --command "$here/job.sh"
node "$here/enqueue.ts"

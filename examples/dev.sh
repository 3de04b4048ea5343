#!/usr/bin/env bash
# What the run.sh of each example begins with. `start_pool` starts `millrace dev` with a Redis of its own and the given
# flags, waits until that Redis is there, and exports MILLRACE_REDIS_URL, where clients look. All of it ends with the script.
set -euo pipefail
home=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export PATH=$home/node_modules/.bin:$PATH # Node 24, as everywhere here

millrace() {
  node "$home/cli/main.ts" "$@"
}

start_pool() {
  local line address='redis://[^ ,]+'
  exec 3< <(exec node "$home/cli/main.ts" dev "$@" 2>&1)
  pool=$!
  trap 'kill "$pool" 2>/dev/null; wait' EXIT
  while read -r line <&3; do
    echo "$line"
    [[ $line =~ $address ]] && break
  done
  export MILLRACE_REDIS_URL=${BASH_REMATCH[0]:?the pool did not start}
  cat <&3 &
}

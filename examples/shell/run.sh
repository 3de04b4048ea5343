#!/usr/bin/env bash
# Usage: run.sh [file...]
# shellcheck source=../dev.sh
. "$(dirname "$0")/../dev.sh"
start_pool --command "$(dirname "$0")/words.sh"
[ $# -gt 0 ] || set -- "$home"/docs/*.md
printf '%s\n' "$@" | millrace enqueue --stdin >/dev/null
for file; do
  echo "$file:"
  millrace result "$file"
done

#!/usr/bin/env bash
# A picture of a fractal as one call of `millrace map`: lines in, lines out. ./run.sh 4000x2500 for a larger one.
set -euo pipefail
size=${1:-1200x800}
here=$(cd "$(dirname "$0")" && pwd)
node="$here/../../node_modules/.bin/node"
millrace="$here/../../cli/main.ts"

"$node" "$here/cut.ts" "$size" |
  "$node" "$millrace" map --module "$here/tile.ts" |
  "$node" "$here/join.ts" "$size" "${2:-fractal.png}"
echo "the picture is in ${2:-fractal.png}"

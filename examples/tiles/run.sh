#!/usr/bin/env bash
# Usage: run.sh [picture.png [folder for the tiles]]
# shellcheck source=../dev.sh
. "$(dirname "$0")/../dev.sh"
here=$(dirname "$0")
start_pool --module "$here/tiles.ts"
node "$here/cut.ts" "${1:-$home/docs/images/fractal.png}" "${2:-out/tiles}"

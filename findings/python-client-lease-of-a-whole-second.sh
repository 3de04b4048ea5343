#!/usr/bin/env bash
# A Lease that Kubernetes' client for Python renews at a whole second is refused as invalid, and so is one with milliseconds
#
# Guess    renewTime of a Lease is a time by RFC 3339, where the fraction is optional, as in every other time of the API. A program that
#          drops the fraction (`now.replace(microsecond=0)`), or writes milliseconds, is understood.
# Truth    A MicroTime is read only with six digits behind the point: none, or three, is an error, where a Time takes any number of
#          them. The official client for Python writes datetimes with isoformat(), which leaves the fraction out when it is zero.
#          So who rounds to seconds never renews; who does not is refused once in a million times, by chance. The clients for Java write
#          six digits always. Events (eventTime) have the same type.
# Versions kubernetes 37.0.2 (PyPI), k8s.io/api and apimachinery 0.37.2 (Go)
# Date     2026-11-30
# Source   observed, and UnmarshalJSON in meta/v1/micro_time.go; the reference of the API calls MicroTime a version of Time with microseconds
# Output   with a fraction: 2026-11-30T05:00:00.000001+00:00, read / at a whole second: 2026-11-30T05:00:00+00:00, refused /
#          milliseconds: 2026-11-30T05:00:00.123Z, refused / each as a Time: read
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv py && py/bin/pip install --quiet kubernetes==37.0.2
cat >see.py <<'PY'
import json
from datetime import datetime, timezone

from kubernetes import client


def lease(renew_time):
    return client.V1Lease(spec=client.V1LeaseSpec(holder_identity="a", renew_time=renew_time))


now = datetime(2026, 11, 30, 5, 0, 0, 1, tzinfo=timezone.utc)
write = client.ApiClient().sanitize_for_serialization
for name, body in {
    "with a fraction": write(lease(now)),
    "at a whole second": write(lease(now.replace(microsecond=0))),
    "milliseconds": {"spec": {"renewTime": "2026-11-30T05:00:00.123Z"}},
}.items():
    print(json.dumps({"name": name, "body": body}))
PY
cat >see.go <<'GO'
package main

import (
	"encoding/json"
	"fmt"
	"os"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

func read(body, into any) string {
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	if json.Unmarshal(text, into) != nil {
		return "refused"
	}
	return "read"
}

func main() {
	for lines := json.NewDecoder(os.Stdin); lines.More(); {
		var sent struct {
			Name string
			Body map[string]map[string]any
		}
		if err := lines.Decode(&sent); err != nil {
			panic(err)
		}
		time := sent.Body["spec"]["renewTime"]
		fmt.Printf("%s: %s, %s; as a Time: %s\n", sent.Name, time, read(sent.Body, &coordinationv1.Lease{}), read(time, &metav1.Time{}))
	}
}
GO
{
  go mod init see
  go get k8s.io/api@v0.37.2 k8s.io/apimachinery@v0.37.2
  go mod tidy
} >/dev/null 2>go.log
py/bin/python see.py | go run . | tee seen
diff - seen <<'SEEN'
with a fraction: 2026-11-30T05:00:00.000001+00:00, read; as a Time: read
at a whole second: 2026-11-30T05:00:00+00:00, refused; as a Time: read
milliseconds: 2026-11-30T05:00:00.123Z, refused; as a Time: read
SEEN

#!/usr/bin/env bash
# Prints the name of a kind node image that this machine has: kind's own where a registry can be reached, else one that is
# built here from the Go modules and Debian's packages alone. The tag of a built one carries a hash of its recipe, so that it is
# built anew when the recipe changes.
set -euo pipefail
# shellcheck source=settings.sh
. "$(dirname "$0")/settings.sh"
recipe=$({ echo "$KIND $ETCD $COREDNS" && cat "$here"/{debian,node-root,control-plane-images,node-image}.sh; } | sha256sum | cut -c 1-8)
image=millrace-test/node:$KUBE-$recipe
have_image "$image" && { echo "$image"; exit 0; }
pull "$RELEASED_NODE_IMAGE" && { echo "$RELEASED_NODE_IMAGE"; exit 0; }
one_at_a_time node-image
have_image "$image" && { echo "$image"; exit 0; }

say "no registry has $RELEASED_NODE_IMAGE, building $image; the first time this takes some minutes"
"$here/tools.sh" kind kubeadm kubelet kubectl >/dev/null
root=$("$here/node-root.sh")
work=$(mktemp -d)
container=
trap 'rm -rf "$work"; [ -z "$container" ] || docker rm -f "$container" >/dev/null' EXIT

# kind's own files: they are part of its module
files=$(go mod download -json "sigs.k8s.io/kind@$KIND" | sed -n 's/^\t"Dir": "\(.*\)".*/\1/p')/images/base/files
cp -r --no-preserve=mode "$files/." "$root/"
chmod 755 "$root"/usr/local/bin/* "$root/kind" "$root"/kind/bin "$root"/kind/bin/*
mkdir -p "$root"/{opt/cni/bin,usr/local/sbin,etc/cni/net.d,etc/kubernetes/manifests,kind/manifests}
cp -a "$root"/usr/lib/cni/* "$root/opt/cni/bin/"
for name in containerd ctr containerd-shim-runc-v2; do ln -sf "/usr/bin/$name" "$root/usr/local/bin/$name"; done
ln -sf /usr/sbin/runc "$root/usr/local/sbin/runc"
cp "$bin"/{kubeadm,kubelet,kubectl} "$root/usr/bin/"
echo "$KUBE" >"$root/kind/version"
# a host without CAP_SYS_RESOURCE can neither raise limits nor lower OOM scores
sed -i '/OOMScoreAdjust/d; /^Limit/d' "$root/etc/systemd/system/containerd.service"
sed -i 's#pause:[0-9.]*"#pause:local"#; s#restrict_oom_score_adj = false#restrict_oom_score_adj = true#' \
  "$root/etc/containerd/config.toml"
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nReadKMsg=no\n' >"$root/etc/systemd/journald.conf.d/no-kernel-log.conf"
chroot "$root" sh -euc '
  systemctl -q enable kubelet.service containerd.service undo-mount-hacks.service
  ctr oci spec | jq ".hooks.createContainer += [{\"path\": \"/kind/bin/mount-product-files.sh\"}] | del(.process.rlimits)" \
    >/etc/containerd/cri-base.json'

# The network of one node needs no daemon: pods hang on it point to point. kind applies a manifest for its network, so there is
# one that only says so.
cat >"$root/etc/cni/net.d/10-ptp.conflist" <<'JSON'
{"cniVersion": "0.3.1", "name": "pods", "plugins": [
  {"type": "ptp", "ipMasq": true, "mtu": 1500, "ipam": {"type": "host-local", "dataDir": "/run/cni-ipam-state",
   "routes": [{"dst": "0.0.0.0/0"}], "ranges": [[{"subnet": "10.244.0.0/24"}]]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
cat >"$root/kind/manifests/default-cni.yaml" <<'YAML'
apiVersion: v1
kind: ConfigMap
metadata: { name: pod-network, namespace: kube-system }
data: { plugin: "ptp, configured in the node image: /etc/cni/net.d" }
YAML

say "packing the control plane"
mapfile -t images < <("$here/control-plane-images.sh" "$root")
[ ${#images[@]} = 8 ] || fail "the control plane has 8 images, ${#images[@]} were built"
docker save "${images[@]}" -o "$work/images.tar"
tar -C "$root" -c . | docker import -c 'ENV container=docker' - "$image-base" >/dev/null
container=$(docker run -d --privileged -v "$work:/in" --entrypoint sleep "$image-base" 600)
docker exec --privileged "$container" sh -euc 'containerd >/dev/null 2>&1 & pid=$!
  for _ in $(seq 20); do ctr version >/dev/null 2>&1 && break; sleep 0.5; done
  ctr -n k8s.io images import --no-unpack /in/images.tar >/dev/null
  kill $pid; wait $pid || true; rm -rf /run/containerd/*'
docker commit -c 'ENTRYPOINT ["/usr/local/bin/entrypoint", "/sbin/init"]' -c 'CMD []' "$container" "$image" >/dev/null
docker rm -f "$container" >/dev/null
container=
docker rmi "$image-base" >/dev/null
# what former recipes left behind of this version, but for what a running cluster uses
docker images --format '{{.Repository}}:{{.Tag}}' millrace-test/node | grep -F ":$KUBE-" | grep -vxF "$image" | xargs -r docker rmi >/dev/null 2>&1 || true
echo "$image"

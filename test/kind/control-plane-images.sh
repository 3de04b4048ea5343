#!/usr/bin/env bash
# control-plane-images.sh ROOT: builds the images that kubeadm starts a control plane from, under the names that it expects,
# and prints those names. Each is a program on nothing; kube-proxy also needs iptables and its libraries, taken from ROOT.
set -euo pipefail
# shellcheck source=settings.sh
. "$(dirname "$0")/settings.sh"
root=$1
export DOCKER_BUILDKIT=0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$here/tools.sh" kubeadm kube-apiserver kube-controller-manager kube-scheduler kube-proxy etcd coredns >/dev/null
names=$("$bin/kubeadm" config images list --kubernetes-version "$KUBE" 2>/dev/null)
name_of() { grep "/$1:" <<<"$names"; }

# from_scratch PROGRAM IMAGE
from_scratch() {
  local context=$work/$1
  mkdir "$context"
  cp "$bin/$1" "$context/"
  printf 'FROM scratch\nCOPY %s /usr/local/bin/%s\nENV PATH=/usr/local/bin\nENTRYPOINT ["/usr/local/bin/%s"]\n' "$1" "$1" "$1" >"$context/Dockerfile"
  docker build -q -t "$2" "$context" >"$work/log" 2>&1 || { cat "$work/log" >&2; fail "could not build $2"; }
  rm -rf "$context"
  echo "$2"
}

# the process that holds a pod's namespaces, from Kubernetes' own source
if [ ! -x "$bin/pause" ]; then
  need_packages gcc=gcc
  source=$(go mod download -json "k8s.io/kubernetes@$KUBE" | sed -n 's/^\t"Dir": "\(.*\)".*/\1/p')
  gcc -Os -static -DVERSION=local -o "$bin/pause" "$source/build/pause/linux/pause.c"
fi

# kube-proxy with iptables, its plugins and every library that they are linked with
proxy_files() {
  local files=$work/proxy name library
  mkdir -p "$files"/usr/{sbin,bin,lib,lib64,local/bin} "$files"/{tmp,etc,run}
  for name in lib lib64 sbin bin; do ln -s "usr/$name" "$files/$name"; done
  cp -a "$root"/usr/sbin/{xtables-nft-multi,nft} "$files/usr/sbin/"
  for name in ip{,6}tables{,-save,-restore}; do ln -s xtables-nft-multi "$files/usr/sbin/$name"; done
  {
    chroot "$root" ldd /usr/sbin/xtables-nft-multi /usr/sbin/nft | grep -oE '/lib[^ ]+'
    chroot "$root" sh -c 'ls /lib/*-linux-gnu/libm.so.6 /usr/lib/*-linux-gnu/xtables/*'
  } | sort -u | while read -r library; do
    mkdir -p "$files$(dirname "$library")"
    cp -L "$root$library" "$files$library"
  done
  cp "$bin/kube-proxy" "$files/usr/local/bin/"
  echo "$files"
}

for program in kube-apiserver kube-controller-manager kube-scheduler etcd coredns pause; do
  from_scratch "$program" "$(name_of "$program")"
done
# containerd is told of this name, so that it does not depend on the version that kubeadm wants
docker tag "$(name_of pause)" "$(name_of pause | sed 's/:.*/:local/')"
name_of pause | sed 's/:.*/:local/'
proxy=$(proxy_files)
tar -C "$proxy" -c . | docker import -c 'ENV PATH=/usr/local/bin:/usr/sbin:/usr/bin' \
  -c 'ENTRYPOINT ["/usr/local/bin/kube-proxy"]' - "$(name_of kube-proxy)" >/dev/null
name_of kube-proxy

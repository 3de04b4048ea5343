# shellcheck shell=bash
# What the scripts beside this file agree on: the versions of everything (nowhere else), where compiled programs are
# kept, how a script speaks. Sourced, never run.
#
# Setting: KUBE, the version of Kubernetes, in full (v1.34.4) or as a minor version alone (1.34), of which there is a default.
# docs/kubernetes-versions.md names those that are tested.
# shellcheck disable=SC2034 # each script uses some of these

KIND=v0.33.0
HELM=v4.3.1
KUBE=${KUBE:-1.37}
KUBE=v${KUBE#v}
# What kubeadm of that minor version expects, and the newest image of it that a kind release has: those of v0.33.0, for 1.31 of
# v0.31.0, the last release to have one.
case "$KUBE" in
  v1.37 | v1.37.*)
    patch=2
    ETCD=v3.7.0
    COREDNS=v1.14.6
    RELEASED_NODE_IMAGE=kindest/node:v1.37.0@sha256:a1ed56cfb0e7b93589bdf97c8cd566405a265939e3620fc4f5de89adff580ae5
    ;;
  v1.34 | v1.34.*)
    patch=4
    ETCD=v3.6.5
    COREDNS=v1.12.1
    RELEASED_NODE_IMAGE=kindest/node:v1.34.11@sha256:44e222ee2132dab25ff87301682f89eb82c7880ea3a1bf543bfe9708fd08d67d
    ;;
  v1.31 | v1.31.*)
    patch=14
    ETCD=v3.5.24
    COREDNS=v1.11.3
    RELEASED_NODE_IMAGE=kindest/node:v1.31.14@sha256:6f86cf509dbb42767b6e79debc3f2c32e4ee01386f0489b3b2be24b0a55aac2b
    ;;
  *)
    echo "KUBE=$KUBE is none of 1.37, 1.34 and 1.31: choose one of these, or add its etcd and CoreDNS to ${BASH_SOURCE[0]}" >&2
    exit 1
    ;;
esac
[[ $KUBE == v1.*.* ]] || KUBE+=.$patch
NODE_BASE=node:24-bookworm-slim
REDIS_BASE=redis:7.0-bookworm
PYTHON_BASE=python:3.11-slim-bookworm

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=$(realpath -m "${MILLRACE_TEST_CACHE:-$HOME/.cache/kind-from-source}")
bin=$cache/bin-$KUBE
me=$(basename "$0" .sh)
mkdir -p "$bin"

say() { echo "$me: $*" >&2; }
fail() { say "$@"; exit 1; }

# one_at_a_time NAME: waits until no other run holds NAME, which this script then holds until it ends
one_at_a_time() {
  exec 9>"$cache/$1.lock"
  flock 9
}

have_image() { docker image inspect "$1" >/dev/null 2>&1; }

# pull IMAGE: true if the image is here or could be fetched. The engine gives up by itself after some seconds where no
# registry answers; the limit is for a transfer that stands still.
pull() { have_image "$1" || timeout 600 docker pull --quiet "$1" >/dev/null 2>&1; }

# need_packages PROGRAM=PACKAGE...: installs Debian's packages whose program is missing
need_packages() {
  local pair missing=()
  for pair in "$@"; do command -v "${pair%%=*}" >/dev/null || missing+=("${pair#*=}"); done
  [ ${#missing[@]} = 0 ] && return
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    fail "needs the Debian packages ${missing[*]}: install them, or run this as root on Debian"
  fi
  say "installing ${missing[*]}"
  apt-get update -qq >&2
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >"$cache/apt.log" 2>&1 ||
    { tail -n 20 "$cache/apt.log" >&2; fail "apt-get could not install ${missing[*]}"; }
}

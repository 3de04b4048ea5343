#!/usr/bin/env bash
# tools.sh NAME...: makes sure that the named programs are there in the pinned versions, and prints the folder that holds them.
# They are compiled from their Go modules, each once, into the cache. Where that is not possible (no Go, or no module
# proxy), programs of the same names in PATH are taken instead, whatever their version.
#
# NAME: kind helm kubectl kubeadm kubelet kube-apiserver kube-controller-manager kube-scheduler kube-proxy etcd coredns
set -euo pipefail
# shellcheck source=settings.sh
. "$(dirname "$0")/settings.sh"
[ $# -gt 0 ] || fail "usage: tools.sh NAME..."
export CGO_ENABLED=0 GOFLAGS=-mod=mod
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# current PROGRAM MODULE VERSION: the file PROGRAM is of this version. Go stamps a program with the module that it was made from;
# without Go there is no way to look, nor to make another one.
current() {
  [ -x "$1" ] || return 1
  command -v go >/dev/null || return 0
  go version -m "$1" | awk -v m="$2" -v v="$3" '$1 == "mod" && $2 == m && $3 == v {found = 1} END {exit !found}'
}

# build PROGRAM PACKAGE LDFLAGS: compiles in the current folder, whose go.mod says what from
build() {
  command -v go >/dev/null || return 1
  say "compiling $(basename "$1") of $(basename "$(dirname "$1")")"
  go build -trimpath -ldflags "-s -w $3" -o "$1.new" "$2" >"$work/log" 2>&1 && mv "$1.new" "$1"
}

# compile NAME MODULE VERSION PACKAGE [LDFLAGS]: a program that is not Kubernetes' own. It is kept in a folder of its own version,
# and linked into the folder of each Kubernetes that it is used with, from where former layouts of the cache are filled too.
compile() {
  local own=$cache/$1-$3/$1 other
  mkdir -p "${own%/*}"
  if ! current "$own" "$2" "$3"; then
    one_at_a_time "$1-$3"
    for other in "$cache"/bin-v*/"$1"; do
      if ! current "$own" "$2" "$3" && current "$other" "$2" "$3"; then ln -f "$other" "$own"; fi
    done
  fi
  if ! current "$own" "$2" "$3"; then
    mkdir -p "$work/$1"
    cd "$work/$1"
    printf 'module build\ngo 1.24.0\nrequire %s %s\n' "$2" "$3" >go.mod
    build "$own" "$4" "${5:-}" || return 1
  fi
  [ "$own" -ef "$bin/$1" ] || ln -f "$own" "$bin/$1"
}

# replacements GO_MOD: k8s.io/kubernetes requires its own libraries at v0.0.0, from its own tree; published, they are modules at
# v0.<minor>. Prints what go.mod is to have instead of each: where the proxy lacks one, its newest patch release before that.
replacements() {
  local wanted=v0.${KUBE#v1.} library lacking libraries found
  mapfile -t libraries < <(awk '$2 == "v0.0.0" {print $1} $3 == "v0.0.0" {print $2}' "$1" | sort -u)
  # it fails where one is lacking, and says which
  lacking=$(go mod download -json "${libraries[@]/%/@$wanted}" | sed -n 's/^\t"Path": "\(.*\)".*/\1/p; s/^\t"Error": .*/lacking/p' |
    awk '$1 == "lacking" {print path} {path = $1}') || true
  for library in "${libraries[@]}"; do
    found=$wanted
    if grep -qxF "$library" <<<"$lacking"; then
      found=$(go list -m -f '{{.Version}}' "$library@<=$wanted") || return 1
      say "the module proxy lacks $library $wanted: taking $found"
    fi
    echo "replace $library => $library $found"
  done
}

kubernetes() {
  local module=k8s.io/kubernetes minor=${KUBE#v1.} mod replaced
  current "$bin/$1" $module "$KUBE" && return
  one_at_a_time "bin-$KUBE"
  current "$bin/$1" $module "$KUBE" && return
  command -v go >/dev/null || return 1
  mkdir -p "$work/kubernetes"
  cd "$work/kubernetes"
  if [ ! -e go.mod ]; then
    mod=$(go mod download -json "$module@$KUBE" | sed -n 's/^\t"GoMod": "\(.*\)".*/\1/p') && [ -n "$mod" ] || return 1
    replaced=$(replacements "$mod") || return 1
    printf 'module build\n%s\nrequire %s %s\n%s\n' "$(grep '^go ' "$mod")" $module "$KUBE" "$replaced" >go.mod
  fi
  local version=k8s.io/component-base/version
  build "$bin/$1" "$module/cmd/$1" "-X $version.gitVersion=$KUBE -X $version.gitMajor=1 -X $version.gitMinor=${minor%%.*} -X $version.gitTreeState=clean"
}

compiled() {
  case "$1" in
    kind) compile kind sigs.k8s.io/kind "$KIND" sigs.k8s.io/kind ;;
    helm) compile helm helm.sh/helm/v4 "$HELM" helm.sh/helm/v4/cmd/helm "-X helm.sh/helm/v4/internal/version.version=$HELM" ;;
    etcd) compile etcd go.etcd.io/etcd/server/v3 "$ETCD" go.etcd.io/etcd/server/v3 ;;
    coredns) compile coredns github.com/coredns/coredns "$COREDNS" github.com/coredns/coredns ;;
    kubectl | kubeadm | kubelet | kube-apiserver | kube-controller-manager | kube-scheduler | kube-proxy) kubernetes "$1" ;;
    *) fail "no program is called $1; the top of tools.sh lists those it knows" ;;
  esac
}

folder=$bin
for name in "$@"; do
  # a function that is tested runs on after an error: every step of `compiled` is its last or is tested itself
  if compiled "$name"; then continue; fi
  folder=$cache/bin-from-path-$KUBE
  program=$(command -v "$name") || {
    [ ! -s "$work/log" ] || tail -n 20 "$work/log" >&2
    fail "$name could not be compiled ($(command -v go >/dev/null && echo "the end of Go's output is above" || echo "Go is not installed")), and PATH has none: install Go or $name"
  }
  say "cannot compile $name here, taking $program"
  mkdir -p "$folder"
  ln -sfn "$program" "$folder/$name"
done
if [ "$folder" != "$bin" ]; then # one folder must hold them all
  for name in "$@"; do [ -e "$folder/$name" ] || ln -sfn "$bin/$name" "$folder/$name"; done
fi
echo "$folder"

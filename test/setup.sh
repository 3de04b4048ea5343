#!/usr/bin/env bash
# setup.sh [PART...]: makes sure that the system has what the tests need and npm cannot bring; installed where that is
# possible (as root, with apt-get), else named in one line. A PART is a project of vitest.config.ts, or `check` for
# `npm run check`; without one, all of them. `unit` needs nothing. With --list the packages that a PART needs are
# printed, and nothing is installed.
set -euo pipefail
cd "$(dirname "$0")"
parts=(check unit redis newest-redis newest-valkey programs sources kube browser chaos kind)

# What each part needs, as Debian's packages.
# A server under test may be given a clock of its own, which is compiled (support/clock.ts); some clients are Python's.
server="redis-server openssl gcc libc6-dev"
python="python3 python3-venv"
needs() {
  case "$1" in
    check) echo "shellcheck $python" ;;
    unit) ;;
    redis | newest-*) echo "$server $python" ;;
    programs) echo "$server $python tmux zsh fish prometheus" ;;
    sources) echo "$server $python golang-go ruby-sidekiq" ;;
    kube) echo "$server $python prometheus" ;;
    browser) echo "$server chromium" ;;
    chaos) echo "$server" ;;
    kind) echo "$server $python" ;;
    *)
      echo "setup: there is no part '$1': choose from ${parts[*]}" >&2
      return 2
      ;;
  esac
}

# Whether what the package brings is there, from wherever it came.
has() {
  case "$1" in
    redis-server) command -v redis-server || command -v valkey-server ;;
    gcc) command -v cc ;;
    libc6-dev) [ -e /usr/include/stdlib.h ] || [ "$(uname)" = Darwin ] ;;
    golang-go) command -v go ;;
    ruby-sidekiq) ruby -e 'require "sidekiq"' 2>/dev/null ;;
    chromium) command -v chromium || command -v chromium-browser || command -v google-chrome ;;
    prometheus) command -v promtool ;;
    python3-venv) python3 -c 'import ensurepip, venv' 2>/dev/null ;;
    *) command -v "$1" ;;
  esac >/dev/null
}

list=false
if [ "${1:-}" = --list ]; then
  list=true
  shift
fi
[ $# = 0 ] && set -- "${parts[@]}"
missing=() seen=' '
for part in "$@"; do
  packages=$(needs "$part")
  for package in $packages; do
    [[ $seen == *" $package "* ]] && continue
    seen+="$package "
    $list || has "$package" || missing+=("$package")
  done
done
if $list; then
  xargs -n 1 <<<"$seen"
  exit 0
fi
[ ${#missing[@]} = 0 ] && exit 0
if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
  echo "setup: installing ${missing[*]}" >&2
  apt-get update -qq
  # Debian starts what it installs unless this forbids it; the tests start servers of their own
  policy=/usr/sbin/policy-rc.d
  if [ ! -e "$policy" ]; then
    trap 'rm -f "$policy"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod +x "$policy"
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
  exit 0
fi
echo "setup: these tests need ${missing[*]}: install them with the system's package manager" >&2
exit 1

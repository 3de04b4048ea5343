#!/usr/bin/env bash
# What the tests need from the system and npm cannot bring: installed where that is possible, else named in one line.
set -euo pipefail
missing=()
need() { command -v "$1" >/dev/null || missing+=("$2"); }
command -v valkey-server >/dev/null || need redis-server redis-server
need shellcheck shellcheck
need tmux tmux
need zsh zsh
need fish fish
need openssl openssl
need cc gcc
[ -e /usr/include/stdlib.h ] || missing+=(libc6-dev)
need chromium chromium
need python3 python3
need promtool prometheus
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3-venv)
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
echo "setup: the tests need ${missing[*]}: install them with the system's package manager" >&2
exit 1

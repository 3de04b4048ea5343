#!/usr/bin/env bash
# debian.sh FOLDER PACKAGE...: installs a minimal Debian with these packages into FOLDER, without indexes, manuals and
# translations. Needs root.
set -euo pipefail
# shellcheck source=settings.sh
. "$(dirname "$0")/settings.sh"
folder=$1
shift
[ "$(id -u)" = 0 ] || fail "no registry has the images that the cluster tests need, and only root can build them: run this as root"
need_packages debootstrap=debootstrap
# the mirror that this machine itself uses, if it is a Debian
mirror=$(grep -hoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null | head -n 1) || true
say "installing Debian into $folder"
rm -rf "$folder"
packages=$*
debootstrap --variant=minbase --include="${packages// /,}" bookworm "$folder" ${mirror:+"$mirror"} >"$folder.log" 2>&1 ||
  { tail -n 20 "$folder.log" >&2; fail "debootstrap failed; the end of $folder.log is above"; }
rm -rf "$folder"/var/lib/apt/lists/* "$folder"/var/cache/apt/* "$folder"/usr/share/{doc,locale,man}/*

#!/usr/bin/env bash
# fetch-debian.sh SUITE PACKAGE FOLDER: unpacks a server of one of Debian's suites (PACKAGE, also the name of its program) with all
# its libraries into FOLDER, beside the system and without root, and writes FOLDER/redis-server, which runs it. Needs apt with
# a mirror of Debian among its sources.
set -euo pipefail
suite=$1 package=$2 folder=$3
# shellcheck disable=SC2016 # apt's own variable
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' | grep -v security | head -n 1)
if [ -z "$mirror" ]; then
  echo "fetch-debian: apt knows no mirror of Debian, where $package of $suite comes from" >&2
  exit 1
fi
apt=$folder/apt
mkdir -p "$apt"/etc/preferences.d "$apt"/lists/partial "$apt"/cache/archives/partial "$apt"/state "$folder"/root
keyring=/usr/share/keyrings/debian-archive-keyring.gpg
echo "deb [signed-by=$keyring] $mirror $suite main" >"$apt/etc/sources.list"
# experimental holds only what differs from sid
[ "$suite" != experimental ] || echo "deb [signed-by=$keyring] $mirror sid main" >>"$apt/etc/sources.list"
# as if nothing were installed: all that the server needs comes along
: >"$apt/state/status"
get() {
  apt-get -qq -o Dir::Etc="$apt/etc" -o Dir::State="$apt/state" -o Dir::State::status="$apt/state/status" \
    -o Dir::State::lists="$apt/lists" -o Dir::Cache="$apt/cache" -o Debug::NoLocking=1 -o APT::Sandbox::User= "$@"
}
get update
get install --download-only --no-install-recommends --yes "$package/$suite" >/dev/null
for archive in "$apt"/cache/archives/*.deb; do dpkg-deb --extract "$archive" "$folder/root"; done
rm -rf "$apt"
cd "$folder"
loader=$(find root/usr/lib* -maxdepth 1 -name 'ld-linux*' | head -n 1)
libraries=$(dirname "$(find root/usr/lib -name 'libc.so.6' | head -n 1)")
# by the loader of the suite: its C library is often newer than the system's
cat >redis-server <<SCRIPT
#!/bin/sh
here=\$(dirname "\$0")
exec "\$here/$loader" --argv0 "$package" --library-path "\$here/$libraries" "\$here/root/usr/bin/$package" "\$@"
SCRIPT
chmod +x redis-server

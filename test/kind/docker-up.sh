#!/usr/bin/env bash
# Makes `docker` answer. A running engine is left as it is; else Debian's is installed where it is missing, and started.
# Where the host holds fewer capabilities than Docker assumes, containers are started through runc-here.
set -euo pipefail
# shellcheck source=settings.sh
. "$(dirname "$0")/settings.sh"
docker info >/dev/null 2>&1 && exit 0
[ "$(id -u)" = 0 ] || fail "no Docker engine answers, and only root can start one: start Docker, or run this as root"
one_at_a_time docker
docker info >/dev/null 2>&1 && exit 0

need_packages dockerd=docker.io docker=docker.io containerd=containerd runc=runc iptables=iptables
runtime=()
cap_sys_resource=$((0x$(awk '/^CapBnd/ {print $2}' /proc/self/status) >> 24 & 1))
if [ "$cap_sys_resource" = 0 ]; then
  need_packages jq=jq
  install -m 755 "$here/runc-here" /usr/local/bin/runc-here
  runtime=(--add-runtime here=/usr/local/bin/runc-here --default-runtime here)
fi
# the engine outlives this script: a session and log of its own, and not the lock
setsid nohup dockerd "${runtime[@]}" >/var/log/dockerd.log 2>&1 </dev/null 9>&- &
for _ in $(seq 60); do
  docker info >/dev/null 2>&1 && exit 0
  sleep 0.5
done
tail -n 20 /var/log/dockerd.log >&2
fail "dockerd did not answer within 30 s; the end of /var/log/dockerd.log is above"

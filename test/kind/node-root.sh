#!/usr/bin/env bash
# Prints the folder of a kind node's system, made from Debian's packages where the cache has none: systemd, containerd, the
# CNI plugins and the programs that kubelet calls. Nothing of Kubernetes or of kind is in it. Needs root.
set -euo pipefail
# shellcheck source=settings.sh
. "$(dirname "$0")/settings.sh"
root=$cache/root-node
if [ ! -e "$root.done" ]; then
  "$here/debian.sh" "$root" systemd dbus conntrack iptables nftables iproute2 ethtool kmod libseccomp2 ca-certificates \
    curl jq procps containerd runc containernetworking-plugins socat
  # a container has no hardware to set up and no console: only what kind enables may start
  chroot "$root" sh -euc '
    find /lib/systemd/system/sysinit.target.wants/ -name systemd-tmpfiles-setup.service -delete
    rm -f /lib/systemd/system/multi-user.target.wants/* /etc/systemd/system/*.wants/* \
      /lib/systemd/system/local-fs.target.wants/* /lib/systemd/system/sockets.target.wants/*udev* \
      /lib/systemd/system/sockets.target.wants/*initctl* /lib/systemd/system/basic.target.wants/*
    ln -sf /usr/lib/systemd/systemd /sbin/init
    systemctl -q mask systemd-binfmt.service'
  touch "$root.done"
fi
echo "$root"

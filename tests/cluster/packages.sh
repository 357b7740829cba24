#!/usr/bin/env bash
# packages.sh [PACKAGE...]: installs those of these Debian packages (default: all that the cluster needs) that this
# machine lacks; whoever may not install is told which they are.
set -euo pipefail

packages=(
  containerd runc containernetworking-plugins               # the container runtime and the reference network plugins
  iptables ipset conntrack ebtables ethtool socat nftables  # what kube-proxy, kubelet and the data planes call
  busybox-static dash bash coreutils grep mawk sed libc-bin               # contents of the test pods' images
  netcat-openbsd netcat-traditional ncat                    # the dialects of nc
  gcc libc6-dev binutils                                    # the pause program; strip
  musl-tools make bzip2                                     # busybox as Alpine has it
  ca-certificates curl git iproute2 jq openssl procps python3 python3-venv util-linux
)

[ $# -eq 0 ] || packages=("$@")

missing=()
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}' "$package" 2>/dev/null | grep -q 'ok installed' || missing+=("$package")
done
[ ${#missing[@]} -eq 0 ] && exit 0

if [ "$(id -u)" != 0 ]; then
  echo "missing Debian packages; as root: apt-get install --no-install-recommends ${missing[*]}" >&2
  exit 1
fi
echo "installing Debian packages: ${missing[*]}" >&2
export DEBIAN_FRONTEND=noninteractive
lock='DPkg::Lock::Timeout=600' # another apt may be at work
apt-get -qq -o "$lock" update
# policy-rc.d: containerd must not be started as a service of this machine; the node starts its own.
policy=/usr/sbin/policy-rc.d
if [ ! -e $policy ]; then
  printf '#!/bin/sh\nexit 101\n' > $policy
  chmod +x $policy
  trap 'rm -f $policy' EXIT
fi
apt-get -qq -y -o "$lock" -o Dpkg::Use-Pty=0 install --no-install-recommends "${missing[@]}" >/dev/null

# state.sh: where the cluster's state is, and whether the cluster is up. Sourced by up.sh, down.sh and image.sh.
# shellcheck shell=bash

HERE=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
REPOSITORY=$(cd "$HERE/../.." && pwd)
STATE=$(realpath -m "${NETPOL_CLUSTER_STATE:-$REPOSITORY/.cache/cluster}")
# One name per state folder, so that two clusters on one machine do not share cgroups.
CGROUP=netpol-verify-$(echo "$STATE" | sha256sum | cut -c1-8)
export HERE STATE CGROUP

# is_up: the node's first process is alive, and is ours and not another one that got its number
is_up() {
  local pid
  pid=$(cat "$STATE/init.pid" 2>/dev/null) && [ "$(readlink "/proc/$pid/ns/pid" 2>/dev/null)" = "$(cat "$STATE/init.namespace" 2>/dev/null)" ]
}

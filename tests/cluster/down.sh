#!/usr/bin/env bash
# down.sh: ends the cluster and removes what it left on the machine. Killing the first process of the node's namespaces
# ends every server and container in them; mounts, networks and network namespaces go with them. The cgroups are left,
# and are removed here. The logs stay until the next start.
set -euo pipefail
# shellcheck source=state.sh
source "$(dirname "$0")/state.sh"

cgroups() { find /sys/fs/cgroup -maxdepth 2 -type d -name "$CGROUP"; }

members() { cgroups | while read -r folder; do find "$folder" -name cgroup.procs -exec cat {} + 2>/dev/null; done; }

if is_up; then kill -KILL "$(cat "$STATE/init.pid")"; fi
for _ in $(seq 100); do # the kernel needs a moment to end them all
  is_up || [ -n "$(members)" ] || break
  sleep 0.1
done
cgroups | while read -r folder; do
  find "$folder" -depth -type d -exec rmdir {} + || echo "could not remove $folder" >&2
done
[ -d "$STATE" ] || exit 0
find "$STATE" -mindepth 1 -maxdepth 1 ! -name log ! -name times -exec rm -rf {} +

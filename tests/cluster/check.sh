#!/usr/bin/env bash
# check.sh: the life of a cluster, in a state folder of its own: up, up again, killed, up with two nodes, down, and nothing
# is left.
set -euo pipefail
NETPOL_CLUSTER_STATE=$(mktemp -d)/cluster
export NETPOL_CLUSTER_STATE
# shellcheck source=state.sh
source "$(dirname "$0")/state.sh"

fail() {
  echo "FAILED: $*" >&2
  exit 1
}

# What a cluster could leave on the machine.
traces() {
  # Outside the state folder's own name: processes, mounts, cgroups, links, network namespaces, sysctls.
  pgrep -af "$STATE" | grep -v check.sh || true
  grep -F "$STATE" /proc/self/mounts || true
  find /sys/fs/cgroup -maxdepth 2 -name "$CGROUP"
  ip -o link | awk '{print $2}' | grep -E '^(cali|node0|outside0|out-|to-node|veth)' || true
  ip netns list
  sysctl vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops
}

before=$(traces)
trap '"$HERE/down.sh"; rm -rf "$(dirname "$STATE")"' EXIT
"$HERE/up.sh" >/dev/null
first=$(cat "$STATE/init.pid")
"$STATE/kubectl" wait --for=condition=Ready node/node-1 --timeout=1s >/dev/null || fail "the node is not ready"

"$HERE/up.sh" | grep -q 'up already' || fail "the second up did something"
[ "$(cat "$STATE/init.pid")" = "$first" ] || fail "the second up made another cluster"

"$STATE/server" freeze kube-scheduler
"$STATE/server" list | grep 'kube-scheduler .*frozen' >/dev/null || fail "a frozen server is not listed as such"
"$STATE/server" thaw kube-scheduler
"$STATE/server" kill kube-scheduler
"$STATE/server" stop synapse
! "$STATE/inside" curl -sf http://192.168.77.1:8008/_matrix/client/versions >/dev/null || fail "Synapse answers though stopped"
"$STATE/server" start synapse
deadline=$((SECONDS + 60))
until "$STATE/inside" curl -sf http://192.168.77.1:8008/_matrix/client/versions >/dev/null; do
  [ $SECONDS -lt $deadline ] || fail "Synapse did not come back"
  sleep 0.2
done
"$STATE/server" list | grep 'kube-scheduler .*up' >/dev/null || fail "a killed server was not started again"

kill -KILL "$(cat "$STATE/init.pid")"
while is_up; do sleep 0.1; done # it ends last, after all others
NODES=2 "$HERE/up.sh" >/dev/null || fail "no cluster after a killed one"
"$STATE/kubectl" wait --for=condition=Ready node/node-1 node/node-2 --timeout=1s >/dev/null || fail "the nodes are not ready"
"$HERE/up.sh" | grep -q 'up already' || fail "up without a number of nodes made another cluster of two"
"$HERE/story.sh" || fail "policy is not enforced between two nodes"
"$HERE/stale.sh" || fail "one node's enforcer is not apart from the other's"
"$HERE/down.sh"
"$HERE/down.sh" || fail "the second down failed"
after=$(traces)
[ "$before" = "$after" ] || fail "left behind: $(diff <(echo "$before") <(echo "$after"))"
echo "passed"

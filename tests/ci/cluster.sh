#!/usr/bin/env bash
# cluster.sh: on the real cluster, under each data plane: engine, oracle and packets held against each other, and the
# scenarios: all of them under Calico, under the other two those that depend on how a denial looks; then, under the first
# data plane, those that need two nodes. E2E_KILLS: how often
# the kill scenario kills; DATA_PLANES: which data planes (the first one by itself, the others beside each other);
# THREADS: how many scenarios at a time.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PROFILE=${PROFILE:-dev} E2E_KILLS=${E2E_KILLS:-10}
state=${NETPOL_CLUSTER_STATE:-$PWD/.cache/cluster}
outputs=$(mktemp -d)

# A cluster for each data plane, so that none waits for another's end.
on() {
  export DATA_PLANE=$1 NETPOL_CLUSTER_STATE=$state-$1
}

play() {
  local plane=$1 threads=$2
  on "$plane"
  echo "== $plane"
  tests/cluster/up.sh
  tests/cluster/image.sh
  cargo test --workspace --test agreement -- --nocapture
  cargo test --workspace --test scenarios -- --test-threads "$threads" 2>&1 | tee "$outputs/scenarios-$plane"
  # The harness knows no test that is skipped at run time: they are among its "passed".
  echo "$plane: of those, $(grep -c 'not played' "$outputs/scenarios-$plane" || true) were not played, as they are for another data plane"
  tests/cluster/down.sh
}

play_on_two_nodes() {
  on "$1"
  echo "== $1, two nodes"
  NODES=2 tests/cluster/up.sh
  tests/cluster/image.sh
  cargo test --workspace --test scenarios -- --test-threads 1 nodes:: shards::
  tests/cluster/down.sh
}

read -ra planes <<< "${DATA_PLANES:-calico kube-router kube-network-policies}"
trap 'for plane in "${planes[@]}"; do (on "$plane" && tests/cluster/down.sh); done; rm -rf "$outputs"' EXIT
(play "${planes[0]}" "${THREADS:-6}")
(play_on_two_nodes "${planes[0]}")
declare -A running
for plane in "${planes[@]:1}"; do
  (play "$plane" "${THREADS:-5}") > "$outputs/$plane" 2>&1 &
  running[$plane]=$!
done
failed=0
for plane in "${planes[@]:1}"; do
  wait "${running[$plane]}" || failed=1
  cat "$outputs/$plane"
done
exit $failed

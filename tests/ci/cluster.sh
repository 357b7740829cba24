#!/usr/bin/env bash
# cluster.sh: the scenarios on the real cluster: all of them under Calico, and those that depend on how a denial looks
# under the other two data planes. E2E_KILLS: how often the kill scenario kills; DATA_PLANES: which data planes.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PROFILE=${PROFILE:-dev} E2E_KILLS=${E2E_KILLS:-10}
trap 'tests/cluster/down.sh' EXIT
for plane in ${DATA_PLANES:-calico kube-router kube-network-policies}; do
  echo "== $plane"
  DATA_PLANE=$plane tests/cluster/up.sh
  tests/cluster/image.sh
  cargo test --package e2e --test scenarios -- --test-threads "${THREADS:-2}"
done

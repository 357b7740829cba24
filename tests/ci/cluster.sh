#!/usr/bin/env bash
# cluster.sh: on the real cluster, under each data plane: engine, oracle and packets held against each other, and the
# scenarios: all of them under Calico, under the other two those that depend on how a denial looks. E2E_KILLS: how often
# the kill scenario kills; DATA_PLANES: which data planes; THREADS: how many scenarios at a time.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PROFILE=${PROFILE:-dev} E2E_KILLS=${E2E_KILLS:-10}
said=$(mktemp)
trap 'rm -f "$said"; tests/cluster/down.sh' EXIT
for plane in ${DATA_PLANES:-calico kube-router kube-network-policies}; do
  echo "== $plane"
  DATA_PLANE=$plane tests/cluster/up.sh
  tests/cluster/image.sh
  cargo test --workspace --test agreement -- --nocapture
  cargo test --workspace --test scenarios -- --test-threads "${THREADS:-8}" 2>&1 | tee "$said"
  # The harness knows no test that is skipped at run time: they are among its "passed".
  echo "$plane: of those, $(grep -c 'not played' "$said" || true) were not played, as they are for another data plane"
done

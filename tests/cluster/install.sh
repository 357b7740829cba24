#!/usr/bin/env bash
# install.sh [OVERLAY]: installs job/ into the cluster as the tests do (OVERLAY: default tests/cluster/job), with the
# bot's token as its Secret. Then: STATE/kubectl create job --from=cronjob/netpol-verify NAME -n netpol-verify
set -euo pipefail
# shellcheck source=state.sh
source "$(dirname "$0")/state.sh"
# shellcheck source=/dev/null
source "$STATE/matrix.env"
"$STATE/bin/kustomize" build "${1:-$HERE/job}" | "$STATE/kubectl" apply --server-side --force-conflicts -f - >/dev/null
"$STATE/kubectl" create secret generic netpol-verify-matrix -n netpol-verify --from-literal=token="$MATRIX_BOT_TOKEN" \
  --dry-run=client -o yaml | "$STATE/kubectl" apply --server-side -f - >/dev/null
echo "installed into the namespace netpol-verify"

#!/usr/bin/env bash
# demo.sh: builds the verifier, kustomize and the lab, and tells the story of tests/lab/src/bin/lab-demo.rs. Needs no
# cluster; as an ordinary user it says which packages are missing instead of installing them.
set -euo pipefail
cd "$(dirname "$0")/../.."
tests/cluster/packages.sh iproute2 nftables util-linux libc-bin coreutils dash bash busybox-static netcat-openbsd \
  netcat-traditional ncat
if [ -z "${KUSTOMIZE:-}" ]; then
  read -r _ kustomize < <(tests/cluster/build.sh kustomize)
  export KUSTOMIZE=$kustomize/kustomize
fi
cargo build --package netpol-verify --package lab --bins
exec "${CARGO_TARGET_DIR:-target}/debug/lab-demo"

#!/usr/bin/env bash
# reproduce.sh: builds the release image of the last commit twice, in two folders with nothing compiled yet, and fails
# where the two archives differ by a byte. Several minutes.
set -euo pipefail
# shellcheck source=state.sh
source "$(dirname "$0")/state.sh"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for folder in one another/with-a-longer-name; do
  mkdir -p "$work/$folder"
  git -C "$REPOSITORY" archive HEAD | tar -x -C "$work/$folder"
  (cd "$work/$folder" && PROFILE=release CARGO_TARGET_DIR=$work/$folder/target NETPOL_CLUSTER_STATE=$work/none tests/cluster/image.sh)
  mv "$work/$folder/.cache/image/netpol-verify.tar" "$work/$(basename "$folder").tar"
  rm -rf "$work/$folder/target"
done
cmp "$work/one.tar" "$work/with-a-longer-name.tar"
echo "both archives are the same"

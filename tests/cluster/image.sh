#!/usr/bin/env bash
# image.sh: builds the verifier and its image, registry.local/netpol-verify:test, from what job/Dockerfile says, and
# imports it into the cluster if one is up. PROFILE=dev (default: release) compiles faster. The release image holds no
# path of the machine and no time: the same source gives the same bytes in any folder (reproduce.sh).
set -euo pipefail
# shellcheck source=state.sh
source "$(dirname "$0")/state.sh"
profile=${PROFILE:-release} target=x86_64-unknown-linux-gnu
cd "$REPOSITORY"
flags="-C target-feature=+crt-static"
# For dev it would only make each checkout compile everything again.
[ "$profile" = dev ] || flags="$flags --remap-path-prefix=$REPOSITORY=/source --remap-path-prefix=${CARGO_HOME:-$HOME/.cargo}=/cargo"
RUSTFLAGS=$flags cargo build --locked --profile "$profile" --target $target --bin netpol-verify
folder=$profile
[ "$profile" = dev ] && folder=debug
read -r _ kustomize <<< "$("$HERE/build.sh" kustomize)"

work=$REPOSITORY/.cache/image
mkdir -p "$work"
exec 9> "$work/.lock" # several clusters may want it at once
flock 9
strip -o "$work/netpol-verify" "${CARGO_TARGET_DIR:-target}/$target/$folder/netpol-verify"
"$HERE/mkimg.py" "$work/netpol-verify.tar" registry.local/netpol-verify:test --dockerfile job/Dockerfile \
  "/usr/local/bin/netpol-verify=$work/netpol-verify" \
  "/usr/local/bin/kustomize=$kustomize/kustomize" \
  /etc/ssl/certs/ca-certificates.crt=/etc/ssl/certs/ca-certificates.crt
echo "$work/netpol-verify.tar: $(stat -c %s "$work/netpol-verify.tar") bytes, $profile, sha256:$(sha256sum "$work/netpol-verify.tar" | cut -d' ' -f1)"
if is_up; then
  for inside in "$STATE"/inside*; do "$inside" ctr -n k8s.io images import "$work/netpol-verify.tar" 9>&-; done # each node
fi

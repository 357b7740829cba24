#!/usr/bin/env bash
# lint.sh: what the house holds itself to and a program can see: format, lints, docs, sizes, licences and sources.
set -euo pipefail
cd "$(dirname "$0")/../.."
# In a folder of its own: tests that run beside it would wait for its lock.
CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/lint
export CARGO_TARGET_DIR
cargo fmt --all --check
cargo clippy --workspace --all-targets -- -D warnings
# What needs the cluster is no target of `cargo test`, which is all that `--all-targets` takes.
cargo clippy --workspace --test scenarios --test agreement -- -D warnings
RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet

long=$(git ls-files '*.rs' | xargs wc -l | awk '$2 != "total" && $1 > 400 { print "  " $2 ": " $1 }')
[ -z "$long" ] || { echo "files over 400 lines:" >&2; echo "$long" >&2; exit 1; }

# The pure core does no I/O; its tests may look at the clock.
impure=$(git ls-files src/model src/engine src/report | grep -vE '/tests(/|\.rs$)' |
  xargs grep -nE 'tokio::|reqwest|kube::Client|std::(fs|env|net::Tcp)|SystemTime|Instant::now' || true)
[ -z "$impure" ] || { echo "I/O in the pure core:" >&2; echo "$impure" >&2; exit 1; }

# The advisory database cannot be reached everywhere: `cargo deny check advisories` is for where it can.
tools=${XDG_CACHE_HOME:-$HOME/.cache}/netpol-verify/cargo-tools
if [ ! -x "$tools/bin/cargo-deny" ]; then
  echo "building cargo-deny into $tools" >&2
  cargo install cargo-deny --locked --quiet --root "$tools" --target-dir "$tools/target"
  rm -rf "$tools/target"
fi
"$tools/bin/cargo-deny" --log-level error check bans licenses sources

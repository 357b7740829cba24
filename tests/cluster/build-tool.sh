#!/usr/bin/env bash
# build-tool.sh SOURCE OUTPUT: runs SOURCE/recipe.sh, which puts a tool's programs and CRDs into OUTPUT.
# The recipes use the functions below. This file is part of every tool's cache key: see build.sh.
set -euo pipefail
cd "$1"
output=$2
export CGO_ENABLED=0 GOTOOLCHAIN=local GOFLAGS=-trimpath

# go_build PROGRAM PACKAGE [LDFLAGS]
go_build() {
  echo "  compiling $1" >&2
  go build -ldflags "${3:--s -w}" -o "$output/$1" "$2" 2> >(grep -v '^go: downloading' >&2)
}

# module_folder MODULE: where Go keeps the source of the very version that is built
module_folder() { go list -m -f '{{.Dir}}' "$1"; }

# crds FILE...: keeps the custom resource definitions of the version that is built
crds() {
  mkdir -p "$output/crd"
  cp "$@" "$output/crd/"
  chmod -R u+w "$output/crd"
}

# shellcheck source=/dev/null
source ./recipe.sh

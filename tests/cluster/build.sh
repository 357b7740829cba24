#!/usr/bin/env bash
# build.sh [TOOL...]: makes sure that the tools (default: all of tools/) are in the user's cache, and prints
# `TOOL FOLDER` for each. A folder's name holds a hash of all that goes into it, so a fresh clone finds what an
# earlier one built, and a change of one tool builds only that tool again. From nothing: about 25 minutes.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${XDG_CACHE_HOME:-$HOME/.cache}/netpol-verify

# The inputs of a tool: its folder, the script that compiles it, the processor; for Python also the interpreter,
# because a virtual environment works with that one only.
key() {
  local tool=$1
  {
    uname -m
    cat "$here/build-tool.sh"
    cd "$here/tools/$tool"
    find . -type f | LC_ALL=C sort | xargs sha256sum
    if [ -e requirements.txt ]; then python3 -c 'import sys; print(sys.version_info[:2], sys.base_prefix)'; fi
  } | sha256sum | cut -c1-12
}

build() {
  local tool=$1 folder=$2
  work=$(mktemp -d "$cache/.building-$tool-XXXXXX")
  trap 'chmod -R u+w "$work"; rm -rf "$work"' EXIT
  cp -r "$here/tools/$tool" "$work/source" # a copy: compiling may touch go.mod
  mkdir "$work/output"
  "$here/build-tool.sh" "$work/source" "$work/output"
  mv -T "$work/output" "$folder" # all or nothing: an interrupted build leaves no half a folder
  rm -rf "$work"
  trap - EXIT
}

if [ $# -eq 0 ]; then mapfile -t all < <(cd "$here/tools" && printf '%s\n' *) && set -- "${all[@]}"; fi
for tool in "$@"; do
  [[ $tool =~ ^[a-z-]+$ && -d $here/tools/$tool ]] || { echo "no such tool: $tool; there are: $(cd "$here/tools" && echo *)" >&2 && exit 2; }
done
mkdir -p "$cache"
exec 9> "$cache/.lock" # two builds at a time would only do the same work twice
flock -n 9 || { echo "waiting for another build in $cache" >&2 && flock 9; }
number=0
for tool in "$@"; do
  number=$((number + 1))
  folder=$cache/$tool-$(key "$tool")
  if [ ! -d "$folder" ]; then
    echo "[$number/$#] building $tool" >&2
    started=$SECONDS
    build "$tool" "$folder" 9>&-
    echo "[$number/$#] $tool is ready after $((SECONDS - started)) s" >&2
  fi
  echo "$tool $folder"
done

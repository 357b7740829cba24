# lib.sh: what the node's scripts share. Source it.
# shellcheck shell=bash

kubectl() { "$STATE/bin/kubectl" --kubeconfig "$STATE/pki/admin.kubeconfig" "$@"; }

# server NAME COMMAND...: keeps it running (supervise.sh), with its output in log/NAME.log
server() {
  mkdir -p "$STATE/servers/$1"
  "$HERE/node/supervise.sh" "$@" &
}

# on_node NAME: the name of this node's server; the first node's have none but their own
on_node() { [ "$NODE" = node-1 ] && echo "$1" || echo "$1-$NODE"; }

started_at=${started_at:-$(cut -d' ' -f1 /proc/uptime)}
export started_at

# lap WHAT: notes how long after the node's start it happened
lap() { echo "$1 after $(awk -v from="$started_at" '{printf "%.1f", $1 - from}' /proc/uptime) s" >> "$STATE/times"; }

# fail WHY: gives up; up.sh shows the reason
fail() {
  echo "$1" > "$STATE/failed"
  exit 1
}

#!/usr/bin/env bash
# supervise.sh NAME COMMAND...: runs a server and starts it again whenever it ends, as systemd or the kubelet would,
# unless somebody asked for it to be down (see server.sh). What it did stands in log/supervisor.log.
set -uo pipefail
name=$1
shift
folder=$STATE/servers/$name
mkdir -p "$folder"

say() { echo "$(date -u +%FT%T.%3NZ) $name: $*" >> "$STATE/log/supervisor.log"; }

while :; do
  while [ -e "$folder/down" ]; do sleep 0.1; done
  "$@" >> "$STATE/log/$name.log" 2>&1 &
  pid=$!
  echo $pid > "$folder/pid"
  say "started, process $pid"
  wait $pid
  status=$?
  rm -f "$folder/pid"
  if [ -e "$folder/down" ]; then
    say "stopped on request"
  else
    say "ended with status $status; starting it again"
    sleep 0.5
  fi
done

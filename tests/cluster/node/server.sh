#!/usr/bin/env bash
# server.sh start|stop|restart|kill|freeze|thaw NAME, server.sh list: one of the node's servers, by hand. Runs inside the
# node (STATE/server calls it). `kill` is a crash: the server is started again at once. A frozen server is there, but does
# nothing until it is thawed.
set -euo pipefail
servers=${STATE:?}/servers
folder=$servers/${2:-}

running() { [ -e "$folder/pid" ]; }

wait_until_down() {
  for _ in $(seq 100); do
    running || return 0
    sleep 0.1
  done
  kill -KILL "$(cat "$folder/pid")"
  while running; do sleep 0.1; done
}

stop() {
  touch "$folder/down"
  running || return 0
  kill "$(cat "$folder/pid")"
  kill -CONT "$(cat "$folder/pid")" 2>/dev/null || true # a frozen one would not hear the first
  wait_until_down
}

start() {
  rm -f "$folder/down"
  until running; do sleep 0.05; done
}

if [ "${1:-}" = list ]; then
  for folder in "$servers"/*; do
    state=down
    if running; then
      state="up, process $(cat "$folder/pid")"
      ! grep -q '^State:.T' "/proc/$(cat "$folder/pid")/status" 2>/dev/null || state="frozen${state#up}"
    fi
    printf '%-26s %s\n' "$(basename "$folder")" "$state"
  done
  exit
fi
if [ $# -ne 2 ] || [ ! -d "$folder" ]; then
  echo "usage: server list | start|stop|restart|kill|freeze|thaw NAME, one of: $(basename -a "$servers"/* | tr '\n' ' ')" >&2
  exit 2
fi
case $1 in
  start) start ;;
  stop) stop ;;
  restart) stop && start ;;
  kill) kill -KILL "$(cat "$folder/pid")" ;;
  freeze) kill -STOP "$(cat "$folder/pid")" ;;
  thaw) kill -CONT "$(cat "$folder/pid")" ;;
  *) echo "no such command: $1" >&2 && exit 2 ;;
esac

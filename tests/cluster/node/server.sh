#!/usr/bin/env bash
# server.sh start|stop|restart|kill NAME, server.sh list: one of the node's servers, by hand. Runs inside the node
# (STATE/server calls it). `kill` is a crash: the server is started again at once.
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
  wait_until_down
}

start() {
  rm -f "$folder/down"
  until running; do sleep 0.05; done
}

if [ "${1:-}" = list ]; then
  for folder in "$servers"/*; do
    if running; then state="up, process $(cat "$folder/pid")"; else state=down; fi
    printf '%-26s %s\n' "$(basename "$folder")" "$state"
  done
  exit
fi
if [ $# -ne 2 ] || [ ! -d "$folder" ]; then
  echo "usage: server list | start|stop|restart|kill NAME, one of: $(basename -a "$servers"/* | tr '\n' ' ')" >&2
  exit 2
fi
case $1 in
  start) start ;;
  stop) stop ;;
  restart) stop && start ;;
  kill) kill -KILL "$(cat "$folder/pid")" ;;
  *) echo "no such command: $1" >&2 && exit 2 ;;
esac

#!/usr/bin/env bash
# synapse.sh: a private Matrix homeserver in the node's network, with a bot, a reader, and a room of both. Runs inside
# the node. Writes STATE/matrix.env. No federation, SQLite, no rate limits, encryption left to the tests.
set -euo pipefail
# shellcheck source=lib.sh
source "$HERE/node/lib.sh"
folder=$STATE/synapse python=$STATE/bin/synapse/venv/bin/python
mkdir -p "$folder"
"$python" "$HERE/node/synapse-config.py" "$folder" "$NODE_IP"
server synapse "$python" -m synapse.app.homeserver --config-path "$folder/homeserver.yaml"
until curl -sf "http://$NODE_IP:8008/_matrix/client/versions" >/dev/null; do sleep 0.2; done
"$python" "$HERE/node/matrix-room.py" "$folder/homeserver.yaml" "http://$NODE_IP:8008" > "$STATE/matrix.env.new"
mv "$STATE/matrix.env.new" "$STATE/matrix.env"

#!/bin/bash
# run.sh: the first process of the pod of calico-node. It keeps Felix running (supervise.sh, as for the node's own
# servers: `server stop calico-felix` works) and prints two things: what Felix says, and the packets that it drops.
# STATE and NODE_NAME are set; the pod shares the node's network and process numbers.
set -uo pipefail
server=calico-felix
[ "$NODE_NAME" = node-1 ] || server=calico-felix-$NODE_NAME
rm -f "$STATE/servers/$server/pid" # of a pod that was killed

# Felix has no setting for logging what it drops. Its drops go through this chain, see iptables-legacy-restore. Made in
# one step, and never emptied: a packet that came in between would be let through.
if ! iptables-legacy-save -t filter | grep -q '^:denied-packet '; then
  iptables-legacy-restore --noflush --wait <<'R'
*filter
:denied-packet - [0:0]
-A denied-packet -j NFLOG --nflog-group 77 --nflog-prefix "calico-packet: "
-A denied-packet -j DROP
COMMIT
R
fi

log=$STATE/log/$server.log
touch "$log"
tail -n 0 -F "$log" &
while :; do
  nflog 77
  sleep 0.5
done >> "$log" 2>&1 &
exec /supervise.sh "$server" calico-felix

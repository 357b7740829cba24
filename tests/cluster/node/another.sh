#!/usr/bin/env bash
# another.sh NUMBER: a further node, in mount, network and UTS namespaces of its own (init.sh starts it there). It shares
# the first node's process numbers, so that it ends with it, and reaches it through a link to its bridge.
set -uo pipefail
number=$1
export NODE=node-$number NODE_IP=192.168.77.$number
# shellcheck source=lib.sh
source "$HERE/node/lib.sh"
# shellcheck source=machine.sh
source "$HERE/node/machine.sh"
hostname "$NODE"
echo $BASHPID > "$STATE/nodes/$NODE/pid"

first() { nsenter --net=/proc/1/ns/net -- "$@"; }

own_network() {
  ip link set lo up
  ip link add eth0 type veth peer name "to-$NODE" netns 1
  first ip link set "to-$NODE" master node0 up
  ip addr add "$NODE_IP/24" dev eth0
  ip link set eth0 up
  ip route add default via 192.168.77.254 dev eth0 # nobody is there: nothing can leave
  ip route add 192.168.78.0/24 via 192.168.77.1    # the hosts outside
  ip route add 169.254.169.254 via 192.168.77.1    # and the metadata service's stand-in
  local other
  for other in $(seq "$NODES"); do
    [ "$other" = "$number" ] || ip route add "10.244.$((other - 1)).0/24" via "192.168.77.$other"
  done
  first ip route add "10.244.$((number - 1)).0/24" via "$NODE_IP"
  sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
}

own_filesystems
# Where the first node, and so `inside`, sees them too.
mkdir "$STATE/nodes/$NODE/pod-logs"
mount --bind "$STATE/nodes/$NODE/pod-logs" /var/log/pods
own_cgroups
own_network
container_runtime
import_images > "$STATE/log/images-$NODE.log" 2>&1 || fail "the images were not imported: log/images-$NODE.log"
lap "$NODE: images imported"
until kubectl get --raw /readyz >/dev/null 2>&1; do sleep 0.1; done
data_plane_before_kubelet
node_agents
wait_for_node
data_plane_on_node
touch "$STATE/nodes/$NODE/ready"
while :; do # reaps what its servers leave behind
  wait -n
  sleep 0.5
done

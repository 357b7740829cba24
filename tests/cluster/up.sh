#!/usr/bin/env bash
# up.sh: brings up a Kubernetes node in namespaces of its own (NODES: how many), with Flux, a Git server, Synapse and a
# data plane (DATA_PLANE, default calico). README.md says what is in it and how to reach it. Does nothing if it is up
# already.
set -euo pipefail
# shellcheck source=state.sh
source "$(dirname "$0")/state.sh"
wanted_nodes=${NODES:-}
export DATA_PLANE=${DATA_PLANE:-calico} NODES=${NODES:-1}

die() {
  echo "$*" >&2
  exit 1
}

[ -e "$HERE/data-planes/$DATA_PLANE.sh" ] || die "DATA_PLANE=$DATA_PLANE: there are only $(basename -s .sh "$HERE"/data-planes/*.sh | tr '\n' ' ')"
[[ $NODES =~ ^[1-9]$ ]] || die "NODES=$NODES: how many nodes, 1 to 9"
[ "$(id -u)" = 0 ] || die "the cluster needs root: mounts, network namespaces, cgroups"
[[ $STATE != *[[:space:]]* ]] || die "the path of the state folder, $STATE, must not hold spaces"

prepare() {
  rm -rf "$STATE"
  mkdir -p "$STATE"/{log,bin/crd,conf,cni/bin,etcd,git,servers}
  local tool folder
  while read -r tool folder; do
    find "$folder" -maxdepth 1 -type f -exec ln -s -t "$STATE/bin" {} +
    [ ! -d "$folder/crd" ] || cp -r "$folder/crd" "$STATE/bin/crd/$tool"
    [ "$tool" != synapse ] || ln -s "$folder" "$STATE/bin/synapse"
  done <<< "$tools"
  mkdir "$STATE/bin/crd/flux"
  cp "$STATE"/bin/crd/*-controller/*.yaml "$STATE/bin/crd/flux/"

  ln -sT "$("$HERE/images.sh" "$STATE/bin")" "$STATE/images"
  ln -s /usr/lib/cni/* "$STATE/cni/bin/"
  ln -s "$STATE/bin/calico-cni" "$STATE/cni/bin/calico"
  local hosts number certificates=()
  hosts=$(awk '/^[0-9]/ {printf "    %s. 5 IN A %s\\n", $2, $1}' "$HERE/conf/outside-hosts")
  sed "s#@HOSTS@#$hosts#" "$HERE/conf/dns.yaml" > "$STATE/conf/dns.yaml"
  sed "s#@STATE@#$STATE#g" "$HERE/conf/kube-proxy.yaml" > "$STATE/conf/kube-proxy.yaml"
  sed "s#@STATE@#$STATE#g" "$HERE/conf/calico/felix.yaml" > "$STATE/conf/felix.yaml"
  echo 'nameserver 10.96.0.10' > "$STATE/conf/resolv.conf"
  for number in $(seq "$NODES"); do
    prepare_node "$number"
    certificates+=("node-$number=192.168.77.$number")
  done
  "$HERE/node/pki.sh" "$STATE/pki" 192.168.77.1 10.96.0.1 "${certificates[@]}"
}

# prepare_node NUMBER: a node's own configuration
prepare_node() {
  local node=node-$1 cni=bridge source
  [ "$DATA_PLANE" = calico ] && cni=calico
  mkdir -p "$STATE/nodes/$node/cni"
  for source in containerd.toml kubelet.yaml; do own_settings "$1" "$HERE/conf/$source" > "$STATE/nodes/$node/$source"; done
  for source in "$HERE/conf/$cni"/*.conflist; do own_settings "$1" "$source" > "$STATE/nodes/$node/cni/$(basename "$source")"; done
}

# own_settings NUMBER FILE: the file as a node has it
own_settings() { sed "s#@STATE@#$STATE#g; s#@CGROUP@#$CGROUP#g; s#@NODE@#node-$1#g; s#@PODS@#10.244.$(($1 - 1)).0/24#g" "$2"; }

# The commands for people and tests, and a file to source.
handles() {
  local enforcer=$DATA_PLANE
  case $DATA_PLANE in
    calico) enforcer=calico-felix ;;
    kube-network-policies*) enforcer=kube-network-policies ;;
  esac
  cat > "$STATE/inside" <<S
#!/bin/sh
# Runs a command in the node's namespaces, in the folder where you are.
exec nsenter -t "\$(cat $STATE/init.pid)" -m -n -p -u -i --wdns="\$PWD" -- "\$@"
S
  cat > "$STATE/kubectl" <<S
#!/bin/sh
exec $STATE/inside $STATE/bin/kubectl --kubeconfig $STATE/pki/admin.kubeconfig "\$@"
S
  cat > "$STATE/server" <<S
#!/bin/sh
# server list | start|stop|restart|kill|freeze|thaw NAME
exec $STATE/inside env STATE=$STATE $HERE/node/server.sh "\$@"
S
  cat > "$STATE/enforcer" <<S
#!/bin/sh
# enforcer start|stop|restart|kill|freeze|thaw NODE: the data plane's part on one node
set -eu
server=$enforcer
[ "\${2:?a node}" = node-1 ] || server=\$server-\$2
exec $STATE/server "\$1" "\$server"
S
  local number
  for number in $(seq 2 "$NODES"); do
    cat > "$STATE/inside-node-$number" <<S
#!/bin/sh
# Runs a command in the namespaces of node-$number, in the folder where you are.
exec $STATE/inside nsenter -t "\$(cat $STATE/nodes/node-$number/pid)" -m -n -u --wdns="\$PWD" -- "\$@"
S
  done
  chmod +x "$STATE"/{inside*,kubectl,server,enforcer}
  cat > "$STATE/env" <<S
# What tests need to know; the addresses are reachable through \$INSIDE only. Matrix tokens and room: matrix.env.
DATA_PLANE='$DATA_PLANE'
NODES='$(seq -s' ' -f'node-%g' "$NODES")'
STATE='$STATE'
INSIDE='$STATE/inside'
KUBECTL='$STATE/kubectl'
SERVER='$STATE/server'
ENFORCER='$STATE/enforcer'
KUBECONFIG='$STATE/pki/admin.kubeconfig'
KUSTOMIZE='$STATE/bin/kustomize'
NODE_IP='192.168.77.1'
API_URL='https://192.168.77.1:6443'
GIT_URL='http://192.168.77.1:8088'
GIT_ROOT='$STATE/git'
SYNAPSE_URL='http://192.168.77.1:8008'
LOGS='$STATE/log'
AUDIT_LOG='$STATE/log/audit.log'
S
}

start_node() {
  setsid unshare --mount --net --pid --ipc --uts --fork --mount-proc --propagation private --kill-child=SIGKILL -- \
    "$HERE/node/init.sh" > "$STATE/log/init.log" 2>&1 < /dev/null 9>&- &
  local unshare=$! pid=
  until pid=$(pgrep -P $unshare); do
    kill -0 $unshare 2>/dev/null || die "unshare failed: $(cat "$STATE/log/init.log")"
    sleep 0.05
  done
  readlink "/proc/$pid/ns/pid" > "$STATE/init.namespace"
  echo "$pid" > "$STATE/init.pid"
}

wait_until_ready() {
  local deadline=$((SECONDS + ${NETPOL_CLUSTER_TIMEOUT:-180}))
  until [ -e "$STATE/ready" ]; do
    [ ! -e "$STATE/failed" ] || die "the node failed: $(cat "$STATE/failed") (in $STATE)"
    is_up || die "the node's first process ended; see $STATE/log/init.log"
    [ $SECONDS -lt $deadline ] || die "the node did not become ready in time; see $STATE/times and $STATE/log"
    sleep 0.2
  done
}

mkdir -p "$(dirname "$STATE")"
exec 9> "$STATE.lock" # two at a time would trip over each other
flock 9

if is_up && [ -e "$STATE/ready" ]; then
  running=$(sed -n "s/^DATA_PLANE='\(.*\)'/\1/p" "$STATE/env")
  running_nodes=$(sed -n "s/^NODES='\(.*\)'/\1/p" "$STATE/env" | wc -w)
  if [ "$running" = "$DATA_PLANE" ] && [ "${wanted_nodes:-$running_nodes}" = "$running_nodes" ]; then
    echo "the cluster is up already, with $DATA_PLANE: $STATE/kubectl get pods -A"
    exit
  fi
  echo "taking down the cluster with $running on $running_nodes node(s)" >&2
fi
"$HERE/packages.sh"
tools=$("$HERE/build.sh")
"$HERE/down.sh" # also what a killed node left behind
prepare
handles
start_node
wait_until_ready
cat "$STATE/times"
cat <<S
The cluster is up, with $DATA_PLANE.
  $STATE/kubectl get pods -A
  $STATE/inside COMMAND...      runs in the node's namespaces
  $STATE/server list            its servers; stop, start, restart, kill, freeze or thaw one by name
  $STATE/enforcer freeze NODE   what enforces policy on one node; also thaw, stop, start, kill
  $STATE/log                    a log for each server, and the API server's audit log
  make cluster-down             takes it down
S

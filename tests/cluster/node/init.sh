#!/usr/bin/env bash
# init.sh: the first process of the node's namespaces (up.sh starts it with STATE, HERE, DATA_PLANE, NODES and CGROUP
# set). It makes the node's own /sys, cgroups and network, starts every server and the further nodes, and then only reaps
# orphans. When it ends, the kernel ends everything in the cluster.
set -uo pipefail
export HOME=${HOME:-/} NODE=node-1 NODE_IP=192.168.77.1 PKI=$STATE/pki
# shellcheck source=lib.sh
source "$HERE/node/lib.sh"
# shellcheck source=machine.sh
source "$HERE/node/machine.sh"
hostname $NODE

own_network() {
  ip link set lo up
  ip link add node0 type bridge
  ip addr add $NODE_IP/24 dev node0
  ip link set node0 up
  ip route add default via 192.168.77.254 dev node0 # nobody is there: nothing can leave
  sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
}

# Hosts outside the cluster: each in a network of its own behind a second bridge; they answer on their ports.
outside_hosts() {
  ip link add outside0 type bridge
  ip addr add 192.168.78.1/24 dev outside0
  ip link set outside0 up
  local address name ports host
  while read -r address name ports; do
    [[ $address =~ ^[0-9] ]] || continue
    host=${name%%.*}
    ip netns add "$host"
    ip link add "out-$host" type veth peer name eth0 netns "$host"
    ip link set "out-$host" master outside0 up
    ip -n "$host" link set lo up
    ip -n "$host" addr add "$address/24" dev eth0
    ip -n "$host" link set eth0 up
    ip -n "$host" route add default via 192.168.78.1 dev eth0 onlink
    ip route replace "$address" dev outside0 # those of another network too
    # nsenter and not `ip netns exec`, which would mount another /sys.
    # shellcheck disable=SC2086
    server "outside-$host" nsenter --net=/run/netns/"$host" "$STATE/bin/serve" $ports
  done < "$HERE/conf/outside-hosts"
}

control_plane() {
  local etcd=http://127.0.0.1:2379 peers=http://127.0.0.1:2380
  server etcd "$STATE/bin/etcd" --name=etcd --data-dir="$STATE/etcd/data" --unsafe-no-fsync \
    --listen-client-urls=$etcd --advertise-client-urls=$etcd \
    --listen-peer-urls=$peers --initial-advertise-peer-urls=$peers --initial-cluster=etcd=$peers
  server kube-apiserver "$STATE/bin/kube-apiserver" --etcd-servers=$etcd \
    --advertise-address=$NODE_IP --bind-address=0.0.0.0 --secure-port=6443 --service-cluster-ip-range=10.96.0.0/16 \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction --allow-privileged=true \
    --tls-cert-file="$PKI/apiserver.crt" --tls-private-key-file="$PKI/apiserver.key" --client-ca-file="$PKI/ca.crt" \
    --service-account-issuer=https://kubernetes.default.svc.cluster.local \
    --service-account-signing-key-file="$PKI/service-accounts.key" --service-account-key-file="$PKI/service-accounts.pub" \
    --kubelet-preferred-address-types=InternalIP --kubelet-certificate-authority="$PKI/ca.crt" \
    --kubelet-client-certificate="$PKI/apiserver-kubelet.crt" --kubelet-client-key="$PKI/apiserver-kubelet.key" \
    --requestheader-client-ca-file="$PKI/ca.crt" --requestheader-allowed-names=front-proxy-client \
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group --requestheader-extra-headers-prefix=X-Remote-Extra- \
    --proxy-client-cert-file="$PKI/front-proxy.crt" --proxy-client-key-file="$PKI/front-proxy.key" \
    --audit-policy-file="$HERE/conf/audit-policy.yaml" --audit-log-path="$STATE/log/audit.log"
}

controllers() {
  server kube-controller-manager "$STATE/bin/kube-controller-manager" --kubeconfig="$PKI/kube-controller-manager.kubeconfig" \
    --leader-elect=false --use-service-account-credentials=true \
    --service-account-private-key-file="$PKI/service-accounts.key" --root-ca-file="$PKI/ca.crt" \
    --cluster-signing-cert-file="$PKI/ca.crt" --cluster-signing-key-file="$PKI/ca.key" \
    --allocate-node-cidrs=false
  server kube-scheduler "$STATE/bin/kube-scheduler" --kubeconfig="$PKI/kube-scheduler.kubeconfig" --leader-elect=false
}

# rolled_out NAMESPACE KIND/NAME: waits for its pods. Why they are not there is in a log, as later nobody can ask.
rolled_out() {
  kubectl rollout status "$2" -n "$1" --timeout=90s >/dev/null && return
  { kubectl describe pods -n "$1" && kubectl logs "$2" -n "$1"; } > "$STATE/log/${2#*/}.log" 2>&1
  fail "$2 did not start: log/${2#*/}.log"
}

own_filesystems
mkdir -p "$STATE/etcd"
mount -t tmpfs tmpfs "$STATE/etcd"
own_cgroups
own_network
for number in $(seq 2 "$NODES"); do # before anything is mounted that they would keep
  unshare --mount --net --uts --propagation private -- "$HERE/node/another.sh" "$number" &
done
control_plane
container_runtime
outside_hosts
"$HERE/node/synapse.sh" > "$STATE/log/synapse-setup.log" 2>&1 && lap "Matrix room ready" &
matrix=$!
import_images > "$STATE/log/images.log" 2>&1 &
images=$!

until kubectl get --raw /readyz >/dev/null 2>&1; do sleep 0.1; done
lap "API server ready"
data_plane_for_cluster
data_plane_before_kubelet
controllers
node_agents
kubectl apply --server-side -f "$STATE/bin/crd/flux" -f "$HERE/conf/flux/namespace.yaml" >/dev/null ||
  fail "the CRDs of Flux were refused: log/init.log"
server git python3 "$HERE/node/git-http.py" $NODE_IP 8088 "$STATE/git"
wait $images || fail "the images were not imported: log/images.log"
lap "images imported"
data_plane_pods
wait_for_node
kubectl apply -f "$STATE/conf/dns.yaml" >/dev/null
kubectl apply --server-side -k "$HERE/conf/flux" >/dev/null || fail "Flux's manifests were refused: log/init.log"
data_plane_on_node
for number in $(seq 2 "$NODES"); do
  until [ -e "$STATE/nodes/node-$number/ready" ]; do sleep 0.1; done
done
data_plane_wait
rolled_out kube-system deployment/coredns
lap "DNS ready"
for controller in source-controller kustomize-controller notification-controller; do rolled_out flux-system deployment/$controller; done
lap "Flux ready"
wait $matrix || fail "Synapse did not start: log/synapse-setup.log, log/synapse.log"
touch "$STATE/ready"

while :; do # reaps what containers and servers leave behind
  wait -n
  sleep 0.5
done

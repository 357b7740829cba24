#!/usr/bin/env bash
# init.sh: the first process of the node's namespaces (up.sh starts it with STATE, HERE, DATA_PLANE and CGROUP set).
# It makes the node's own /sys, cgroups and network, starts every server, and then only reaps orphans.
# When it ends, the kernel ends everything in the node.
set -uo pipefail
export HOME=${HOME:-/} NODE=node-1 NODE_IP=192.168.77.1 PKI=$STATE/pki
# shellcheck source=lib.sh
source "$HERE/node/lib.sh"
hostname $NODE

own_filesystems() {
  # A /sys that shows this network, with the cgroup mounts kept. The order matters: shared propagation comes last.
  mkdir -p "$STATE/cgroups" /run
  mount --rbind /sys/fs/cgroup "$STATE/cgroups"
  umount -l /sys && mount -t sysfs sysfs /sys
  mount --rbind "$STATE/cgroups" /sys/fs/cgroup
  umount -l "$STATE/cgroups"
  mount --make-rshared /
  for folder in /run /var/lib/kubelet /var/log/pods /var/log/containers /var/lib/cni /var/lib/calico "$STATE/etcd"; do
    mkdir -p "$folder"
    mount -t tmpfs tmpfs "$folder"
    mount --make-rshared "$folder"
  done
  mkdir -p /run/netns /run/lock
  # The kubelet sets these for the whole machine. It gets files of its own instead, so nothing has to be put back.
  mkdir -p /run/sysctl
  for setting in vm/overcommit_memory vm/panic_on_oom kernel/panic kernel/panic_on_oops kernel/keys/root_maxkeys kernel/keys/root_maxbytes; do
    [ -e /proc/sys/$setting ] || continue
    cat /proc/sys/$setting > /run/sysctl/"${setting//\//.}"
    mount --bind /run/sysctl/"${setting//\//.}" /proc/sys/$setting
  done
}

own_cgroups() {
  for hierarchy in cpu cpuacct cpuset memory devices freezer blkio pids systemd; do
    mkdir -p "/sys/fs/cgroup/$hierarchy/$CGROUP"
  done
  for file in cpus mems; do # an empty cpuset takes no process
    cat /sys/fs/cgroup/cpuset/cpuset.$file > "/sys/fs/cgroup/cpuset/$CGROUP/cpuset.$file"
  done
}

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
    ip -n "$host" route add default via 192.168.78.1
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
    --cluster-cidr=10.244.0.0/16 --allocate-node-cidrs=true
  server kube-scheduler "$STATE/bin/kube-scheduler" --kubeconfig="$PKI/kube-scheduler.kubeconfig" --leader-elect=false
  server kubelet "$STATE/bin/kubelet" --kubeconfig="$PKI/kubelet.kubeconfig" --config="$STATE/conf/kubelet.yaml" \
    --hostname-override=$NODE --node-ip=$NODE_IP --root-dir=/var/lib/kubelet
  server kube-proxy "$STATE/bin/kube-proxy" --config="$STATE/conf/kube-proxy.yaml" --hostname-override=$NODE
}

import_images() {
  until ctr version >/dev/null 2>&1; do sleep 0.1; done
  local unused=calico-node.tar # by far the largest
  [ "$DATA_PLANE" = calico ] && unused=
  find "$STATE/images/" -name '*.tar' ! -name "$unused" -print0 | xargs -0 -n 1 -P 3 ctr -n k8s.io images import
}

# rolled_out NAMESPACE KIND/NAME: waits for its pods. Why they are not there is in a log, as later nobody can ask.
rolled_out() {
  kubectl rollout status "$2" -n "$1" --timeout=90s >/dev/null && return
  { kubectl describe pods -n "$1" && kubectl logs "$2" -n "$1"; } > "$STATE/log/${2#*/}.log" 2>&1
  fail "$2 did not start: log/${2#*/}.log"
}

# shellcheck source=/dev/null
source "$HERE/data-planes/$DATA_PLANE.sh"

own_filesystems
own_cgroups
own_network
control_plane
server containerd containerd --config "$STATE/conf/containerd.toml"
outside_hosts
"$HERE/node/synapse.sh" > "$STATE/log/synapse-setup.log" 2>&1 && lap "Matrix room ready" &
matrix=$!
import_images > "$STATE/log/images.log" 2>&1 &
images=$!

until kubectl get --raw /readyz >/dev/null 2>&1; do sleep 0.1; done
lap "API server ready"
data_plane_before_kubelet
controllers
kubectl apply --server-side -f "$STATE/bin/crd/flux" -f "$HERE/conf/flux/namespace.yaml" >/dev/null ||
  fail "the CRDs of Flux were refused: log/init.log"
server git python3 "$HERE/node/git-http.py" $NODE_IP 8088 "$STATE/git"
wait $images || fail "the images were not imported: log/images.log"
lap "images imported"
data_plane_after_images
until kubectl get node $NODE 2>/dev/null | grep -q ' Ready'; do sleep 0.1; done
lap "node Ready"
kubectl apply -f "$STATE/conf/dns.yaml" >/dev/null
kubectl apply --server-side -k "$HERE/conf/flux" >/dev/null || fail "Flux's manifests were refused: log/init.log"
data_plane_after_node_ready
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

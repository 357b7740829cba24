# machine.sh: what makes a node of the cluster, the first one (init.sh) and each further one (another.sh): its own view
# of /sys and /run, its cgroups, and its servers. Source it, with NODE and NODE_IP set.
# shellcheck shell=bash

: "${NODE:?}" "${NODE_IP:?}" "${NODES:?how many}" "${PKI:?}"

own_filesystems() {
  # A /sys that shows this network, with the cgroup mounts kept. The order matters: shared propagation comes last.
  local cgroups=$STATE/nodes/$NODE/cgroups
  mkdir -p "$cgroups" /run
  mount --rbind /sys/fs/cgroup "$cgroups"
  umount -l /sys && mount -t sysfs sysfs /sys
  mount --rbind "$cgroups" /sys/fs/cgroup
  umount -l "$cgroups"
  mount --make-rshared /
  for folder in /run /var/lib/kubelet /var/log/pods /var/log/containers /var/lib/cni /var/lib/calico; do
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
  local hierarchy file folder
  for hierarchy in cpu cpuacct cpuset memory devices freezer blkio pids systemd; do
    mkdir -p "/sys/fs/cgroup/$hierarchy/$CGROUP/$NODE"
  done
  for folder in "$CGROUP" "$CGROUP/$NODE"; do
    for file in cpus mems; do # an empty cpuset takes no process
      cat /sys/fs/cgroup/cpuset/cpuset.$file > "/sys/fs/cgroup/cpuset/$folder/cpuset.$file"
    done
  done
}

import_images() {
  until ctr version >/dev/null 2>&1; do sleep 0.1; done
  local unused=calico-node.tar # by far the largest
  [ "$DATA_PLANE" = calico ] && unused=
  find "$STATE/images/" -name '*.tar' ! -name "$unused" -print0 | xargs -0 -n 1 -P 3 ctr -n k8s.io images import
}

container_runtime() { server "$(on_node containerd)" containerd --config "$STATE/nodes/$NODE/containerd.toml"; }

node_agents() {
  server "$(on_node kubelet)" "$STATE/bin/kubelet" --kubeconfig="$PKI/kubelet-client-$NODE.kubeconfig" \
    --config="$STATE/nodes/$NODE/kubelet.yaml" --hostname-override="$NODE" --node-ip="$NODE_IP" --root-dir=/var/lib/kubelet
  server "$(on_node kube-proxy)" "$STATE/bin/kube-proxy" --config="$STATE/conf/kube-proxy.yaml" --hostname-override="$NODE"
}

# The pods' addresses are given by hand: the routes between the nodes are there already, and who registers first is chance.
wait_for_node() {
  local pods=10.244.$((${NODE#node-} - 1)).0/24
  until kubectl patch node "$NODE" -p "{\"spec\": {\"podCIDR\": \"$pods\", \"podCIDRs\": [\"$pods\"]}}" >/dev/null 2>&1; do sleep 0.1; done
  until kubectl get node "$NODE" 2>/dev/null | grep -q ' Ready'; do sleep 0.1; done
  lap "$NODE Ready"
}

# What a data plane does; each defines what it needs.
data_plane_for_cluster() { :; }  # once, when there is an API server
data_plane_before_kubelet() { :; } # on each node
data_plane_pods() { :; }         # once, when the first node has its images
data_plane_on_node() { :; }      # on each node, when it is Ready
data_plane_wait() { :; }         # once: until all of it works
# shellcheck source=/dev/null
source "$HERE/data-planes/$DATA_PLANE.sh"

# The bridge plugin and kube-network-policies: a denied connection times out (DROP); a reading of NetworkPolicy that is
# independent of Calico's. Sourced by node/init.sh, and by the two variants that also read a policy API of its own.
# shellcheck shell=bash

build=${build:-standard}

data_plane_for_cluster() {
  local kind
  for kind in ${kinds:-}; do kubectl apply --server-side -f "$STATE/bin/crd/kube-network-policies/policy.networking.k8s.io_$kind.yaml" >/dev/null; done
}

data_plane_on_node() {
  # Its own nftables rule needs a kernel with nft's queue; this rule feeds it without. Only first packets are judged.
  iptables -I FORWARD 1 -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT
  iptables -I FORWARD 2 -m conntrack --ctstate NEW -j NFQUEUE --queue-num 100
  server "$(on_node kube-network-policies)" "$STATE/bin/kube-network-policies-$build" --kubeconfig "$PKI/admin.kubeconfig" \
    --hostname-override="$NODE" --fail-open=false --disable-nri=true --metrics-bind-address=127.0.0.1:9999
  until grep -q '^ *100 ' /proc/net/netfilter/nfnetlink_queue; do sleep 0.1; done
  lap "$(on_node kube-network-policies) ready"
}

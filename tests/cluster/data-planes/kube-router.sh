# The bridge plugin and kube-router's policy controller: a denied connection is refused at once (REJECT), which looks
# like a port on which nothing listens. Sourced by node/init.sh.
# shellcheck shell=bash

data_plane_on_node() {
  server "$(on_node kube-router)" env NODE_NAME="$NODE" "$STATE/bin/kube-router" --kubeconfig "$PKI/admin.kubeconfig" --hostname-override="$NODE" \
    --run-firewall=true --run-router=false --run-service-proxy=false --run-loadbalancer=false --enable-cni=false --enable-ipv6=false \
    --service-cluster-ip-range=10.96.0.0/16 --iptables-sync-period=10s --health-port=0
  until iptables -nL KUBE-ROUTER-FORWARD >/dev/null 2>&1; do sleep 0.1; done
  lap "$(on_node kube-router) ready"
}

# Calico, as the customer has it: its CNI plugin, Felix (iptables) and its API server for projectcalico.org/v3.
# A denied connection times out. Sourced by node/init.sh.
# shellcheck shell=bash

data_plane_before_kubelet() {
  kubectl apply --server-side -f "$STATE/bin/crd/calico" >/dev/null || fail "Calico's CRDs were refused: log/init.log"
  until kubectl apply --server-side -f "$HERE/conf/calico/defaults.yaml" >/dev/null 2>&1; do sleep 0.1; done
  echo "$NODE" > /var/lib/calico/nodename # what calico-node's start-up leaves for the CNI plugin

  local datastore=(DATASTORE_TYPE=kubernetes KUBECONFIG="$PKI/admin.kubeconfig")
  # No overlay network and no BPF: one node needs none. Felix ends itself (129) after a change of its configuration
  # and is started again, as the kubelet would do.
  server calico-felix env "${datastore[@]}" FELIX_DATASTORETYPE=kubernetes FELIX_FELIXHOSTNAME="$NODE" FELIX_IPV6SUPPORT=false \
    FELIX_IPINIPENABLED=false FELIX_VXLANENABLED=false FELIX_WIREGUARDENABLED=false FELIX_BPFENABLED=false FELIX_XDPENABLED=false \
    FELIX_LOGFILEPATH=none FELIX_LOGSEVERITYFILE=none FELIX_LOGSEVERITYSYS=none FELIX_USAGEREPORTINGENABLED=false \
    FELIX_DEFAULTENDPOINTTOHOSTACTION=ACCEPT FELIX_PROMETHEUSMETRICSENABLED=true FELIX_PROMETHEUSMETRICSHOST=127.0.0.1 \
    "$STATE/bin/calico-felix"
  server calico-apiserver env "${datastore[@]}" "$STATE/bin/calico-apiserver" --secure-port=5443 \
    --tls-cert-file="$PKI/calico-apiserver.crt" --tls-private-key-file="$PKI/calico-apiserver.key" \
    --kubeconfig="$PKI/admin.kubeconfig" --authentication-kubeconfig="$PKI/admin.kubeconfig" --authorization-kubeconfig="$PKI/admin.kubeconfig"
  kubectl apply --server-side -f "$HERE/conf/calico/apiserver.yaml" >/dev/null
}

data_plane_after_node_ready() {
  kubectl wait --for=condition=Available apiservice/v3.projectcalico.org --timeout=30s >/dev/null || fail "Calico's API server did not start"
  lap "Calico ready"
}

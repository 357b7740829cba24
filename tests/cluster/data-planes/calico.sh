# Calico, as the customer has it: its CNI plugin, Felix (iptables, in a pod) and its API server for
# projectcalico.org/v3. A denied connection times out. Sourced by node/init.sh.
# shellcheck shell=bash

data_plane_for_cluster() {
  kubectl apply --server-side -f "$STATE/bin/crd/calico" >/dev/null || fail "Calico's CRDs were refused: log/init.log"
  until kubectl apply --server-side -f "$HERE/conf/calico/defaults.yaml" >/dev/null 2>&1; do sleep 0.1; done
  local datastore=(DATASTORE_TYPE=kubernetes KUBECONFIG="$PKI/admin.kubeconfig")
  server calico-apiserver env "${datastore[@]}" "$STATE/bin/calico-apiserver" --secure-port=5443 \
    --tls-cert-file="$PKI/calico-apiserver.crt" --tls-private-key-file="$PKI/calico-apiserver.key" \
    --kubeconfig="$PKI/admin.kubeconfig" --authentication-kubeconfig="$PKI/admin.kubeconfig" --authorization-kubeconfig="$PKI/admin.kubeconfig"
  kubectl apply --server-side -f "$HERE/conf/calico/apiserver.yaml" >/dev/null
}

data_plane_before_kubelet() { echo "$NODE" > /var/lib/calico/nodename; } # what calico-node's start-up leaves for the CNI plugin

data_plane_pods() { kubectl apply --server-side -f "$STATE/conf/felix.yaml" >/dev/null || fail "Felix's pod was refused: log/init.log"; }

data_plane_wait() {
  kubectl wait --for=condition=Available apiservice/v3.projectcalico.org --timeout=30s >/dev/null || fail "Calico's API server did not start"
  rolled_out calico-system daemonset/calico-node
  lap "Calico ready"
}

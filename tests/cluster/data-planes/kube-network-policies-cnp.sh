# kube-network-policies with ClusterNetworkPolicy (v1alpha2).
# shellcheck shell=bash
export build=npa-v1alpha2 kinds=clusternetworkpolicies
# shellcheck source=kube-network-policies.sh
source "$HERE/data-planes/kube-network-policies.sh"

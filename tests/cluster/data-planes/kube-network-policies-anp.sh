# kube-network-policies with AdminNetworkPolicy and BaselineAdminNetworkPolicy (v1alpha1).
# shellcheck shell=bash
export build=npa-v1alpha1 kinds="adminnetworkpolicies baselineadminnetworkpolicies"
# shellcheck source=kube-network-policies.sh
source "$HERE/data-planes/kube-network-policies.sh"

for api in standard npa-v1alpha1 npa-v1alpha2; do
  go_build kube-network-policies-$api sigs.k8s.io/kube-network-policies/cmd/kube-network-policies/$api
done
# AdminNetworkPolicy and its baseline were in 0.1 of the API, ClusterNetworkPolicy is in 0.2.
for version in 0.1.7 0.2.0; do
  folder=$(go mod download -json sigs.k8s.io/network-policy-api@v$version | jq -r .Dir)
  crds "$folder"/config/crd/standard/policy.*.yaml
done

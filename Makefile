# DATA_PLANE: calico, kube-router, kube-network-policies (also -anp, -cnp). NETPOL_CLUSTER_STATE: where the cluster lives.
export DATA_PLANE ?= calico
# PROFILE of the verifier in the image: release, or dev, which compiles faster.
export PROFILE ?= release

.PHONY: cluster cluster-down image

# The real cluster of the tests (tests/cluster/README.md): up, down, and the verifier's image in it.
cluster:
	@tests/cluster/up.sh

cluster-down:
	@tests/cluster/down.sh

image:
	@tests/cluster/image.sh

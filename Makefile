# DATA_PLANE: calico, kube-router, kube-network-policies (also -anp, -cnp). NETPOL_CLUSTER_STATE: where the cluster lives.
export DATA_PLANE ?= calico
# PROFILE of the verifier in the image: release (default of `make image`), or dev, which compiles faster (tests, demo).

.PHONY: help demo test compile lint unit lab test-cluster demo-cluster cluster cluster-down image

help:
	@sed -n 's/^## //p' Makefile

## make demo            one story of four merges, without a cluster: the messages as the room shows them, in seconds
demo:
	@tests/ci/demo.sh

## make test            everything that needs no cluster: lints, unit, property and golden tests, mocks, a real Synapse, the lab
test: compile
	@echo "lints, tests and the lab run beside each other; each shows what it says when it has ended" >&2
	@$(MAKE) --no-print-directory --jobs=3 --output-sync=target lint unit lab

compile:
	@tests/ci/compile.sh

lint:
	@tests/ci/lint.sh

unit: compile
	@tests/ci/unit.sh

lab: compile
	@tests/ci/lab.sh

## make test-cluster    the scenarios on the real cluster, under each data plane that they depend on
test-cluster:
	@tests/ci/cluster.sh

## make demo-cluster    the same story on the real cluster
demo-cluster:
	@tests/ci/demo-cluster.sh

## make cluster         brings the test cluster up (tests/cluster/README.md)
cluster:
	@tests/cluster/up.sh

## make cluster-down    takes it down
cluster-down:
	@tests/cluster/down.sh

## make image           builds the verifier and its image
image:
	@tests/cluster/image.sh

#!/usr/bin/env bash
# stale.sh: is one node's enforcer apart from the others'? On a cluster of several nodes (NODES=2), the last one's is
# frozen, then a policy closes a target on each node: the target on the frozen node stays open, until it is thawed.
set -euo pipefail
# shellcheck source=state.sh
source "$(dirname "$0")/state.sh"
# shellcheck source=/dev/null
source "$STATE/env"
namespace=stale first=${NODES%% *} last=${NODES##* }
k() { "$STATE/kubectl" "$@"; }

[ "$first" != "$last" ] || { echo "there is one node only: NODES=2 tests/cluster/up.sh" >&2 && exit 2; }
[[ $DATA_PLANE != kube-network-policies* ]] || { echo "not played under $DATA_PLANE: packets wait for it while it is frozen" && exit; }

pod_template() { # NAME IMAGE ARGUMENTS NODE
  cat <<P
---
apiVersion: v1
kind: Pod
metadata: {name: $1, namespace: $namespace, labels: {app: ${1%%-*}}}
spec: {nodeName: $4, terminationGracePeriodSeconds: 0, containers: [{name: main, image: "registry.local/$2:test", imagePullPolicy: Never, args: [$3]}]}
P
}

# open NODE: whether the target there can be reached, within a second
open() {
  k exec -n $namespace source -- nc -znw1 "$(k get pod "target-$1" -n $namespace -o jsonpath='{.status.podIP}')" 8000 2>/dev/null
}

# expect NODE open|closed WHEN: for three seconds on end, after at most ten
expect() {
  local deadline=$((SECONDS + 10)) since=$SECONDS now
  while [ $((SECONDS - since)) -lt 3 ]; do
    if open "$1"; then now=open; else now=closed; fi
    [ $now = "$2" ] || since=$SECONDS
    [ $SECONDS -lt $deadline ] || { echo "FAILED: $3, the target on $1 is $now and not $2" >&2 && exit 1; }
  done
  printf '%-34s the target on %s is %s\n' "$3" "$1" "$2"
}

# shellcheck disable=SC2154
trap '"$STATE/enforcer" thaw "$last"; k delete namespace $namespace --wait=false >/dev/null' EXIT
{
  echo "{apiVersion: v1, kind: Namespace, metadata: {name: $namespace}}"
  pod_template source netcat '"sleep 1000000"' "$first"
  for node in "$first" "$last"; do pod_template "target-$node" distroless 8000/tcp "$node"; done
} | k apply -f - >/dev/null
k wait --for=condition=Ready pod --all -n $namespace --timeout=30s >/dev/null
expect "$first" open "no policy:"
expect "$last" open "no policy:"
"$STATE/enforcer" freeze "$last"
k apply -f - >/dev/null <<P
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: close, namespace: $namespace}
spec: {podSelector: {matchLabels: {app: target}}, policyTypes: [Ingress]}
P
expect "$first" closed "closed, $last frozen:"
expect "$last" open "closed, $last frozen:"
"$STATE/enforcer" thaw "$last"
expect "$last" closed "$last thawed:"
echo "passed under $DATA_PLANE"

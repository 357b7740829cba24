#!/usr/bin/env bash
# story.sh: does the running cluster's data plane enforce policy? A connection is open, a default-deny closes it, a pair
# of rules opens it again; by `nc -zv` from inside a pod, to a pod's address and to a Service's.
set -euo pipefail
# shellcheck source=state.sh
source "$(dirname "$0")/state.sh"
# shellcheck source=/dev/null
source "$STATE/env"
namespace=story
k() { "$STATE/kubectl" "$@"; }

nc() { k exec -n $namespace source -- env LC_ALL=C nc -zvnw2 "$1" "$2" 2>&1 || true; }

# expect WORD: both ways show it within 5 s
expect() {
  local started=$EPOCHREALTIME deadline=$((SECONDS + 5)) pod_says service_says
  while :; do
    pod_says=$(nc "$pod" 8000) service_says=$(nc "$service" 80)
    [[ $pod_says != *"$1"* || $service_says != *"$1"* ]] || break
    [ $SECONDS -lt $deadline ] || { echo "FAILED: wanted \"$1\", saw: $pod_says; $service_says" >&2 && exit 1; }
  done
  printf '%-28s %s (seen after %.1f s)\n' "$2" "${pod_says%%$'\n'*}" "$(echo "$EPOCHREALTIME - $started" | bc)"
}

pod_template() { # NAME IMAGE ARGUMENTS NODE
  cat <<P
---
apiVersion: v1
kind: Pod
metadata: {name: $1, namespace: $namespace, labels: {app: $1}}
spec: {nodeName: $4, terminationGracePeriodSeconds: 0, containers: [{name: main, image: "registry.local/$2:test", imagePullPolicy: Never, args: [$3], ports: [{name: story, containerPort: 8000}]}]}
P
}

trap 'k delete namespace $namespace --wait=false >/dev/null' EXIT
{
  echo "{apiVersion: v1, kind: Namespace, metadata: {name: $namespace}}"
  pod_template source netcat '"sleep 1000000"' "${NODES%% *}"
  pod_template target distroless 8000/tcp "${NODES##* }"
  echo "---"
  echo "{apiVersion: v1, kind: Service, metadata: {name: target, namespace: $namespace}, spec: {selector: {app: target}, ports: [{port: 80, targetPort: 8000}]}}"
} | k apply -f - >/dev/null
k wait --for=condition=Ready pod --all -n $namespace --timeout=30s >/dev/null
pod=$(k get pod target -n $namespace -o jsonpath='{.status.podIP}')
service=$(k get service target -n $namespace -o jsonpath='{.spec.clusterIP}')

case $DATA_PLANE in kube-router) denied=refused ;; *) denied='timed out' ;; esac
expect succeeded "no policy:"
k apply -f - >/dev/null <<P
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: default-deny-all, namespace: $namespace}
spec: {podSelector: {}, policyTypes: [Ingress, Egress]}
P
expect "$denied" "default-deny-all:"
k apply -f - >/dev/null <<P
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: source, namespace: $namespace}
spec: {podSelector: {matchLabels: {app: source}}, policyTypes: [Egress], egress: [{to: [{podSelector: {matchLabels: {app: target}}}], ports: [{port: 8000}]}]}
P
expect "$denied" "egress side only:"
k apply -f - >/dev/null <<P
apiVersion: networking.k8s.io/v1
kind: NetworkPolicy
metadata: {name: target, namespace: $namespace}
spec: {podSelector: {matchLabels: {app: target}}, policyTypes: [Ingress], ingress: [{from: [{podSelector: {matchLabels: {app: source}}}], ports: [{port: story}]}]}
P
expect succeeded "both sides:"
k delete networkpolicy target -n $namespace >/dev/null
expect "$denied" "ingress side deleted:"
if [ "$DATA_PLANE" = calico ]; then
  source=$(k get pod source -n $namespace -o jsonpath='{.status.podIP}')
  dropped="^calico-packet: .* SRC=$source DST=$pod .* DPT=8000 "
  k logs -n calico-system -l k8s-app=calico-node --since=5s --tail=-1 | grep "$dropped" >/dev/null || {
    echo "FAILED: Felix's log does not show the last connection, which it dropped" >&2 && exit 1
  }
fi
echo "passed under $DATA_PLANE, from ${NODES%% *} to ${NODES##* }"

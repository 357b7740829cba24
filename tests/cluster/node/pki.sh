#!/usr/bin/env bash
# pki.sh FOLDER ADDRESS SERVICE-ADDRESS NODE=ADDRESS...: one CA, its server and client certificates, and kubeconfigs
# (about 1 s). The first two addresses are the API server's.
set -euo pipefail
folder=$1 address=$2 service=$3
shift 3
mkdir -p "$folder" && cd "$folder"

openssl ecparam -name prime256v1 -genkey -noout -out ca.key
openssl req -x509 -new -key ca.key -subj /CN=netpol-verify-test-ca -days 3650 -out ca.crt 2>/dev/null

# certificate NAME SUBJECT [ALTERNATIVE-NAMES]
certificate() {
  openssl ecparam -name prime256v1 -genkey -noout -out "$1.key"
  openssl req -new -key "$1.key" -subj "$2" -out "$1.csr" 2>/dev/null
  printf 'keyUsage=digitalSignature,keyEncipherment\nextendedKeyUsage=serverAuth,clientAuth\n' > "$1.ext"
  [ -z "${3:-}" ] || echo "subjectAltName=$3" >> "$1.ext"
  openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 3650 -extfile "$1.ext" -out "$1.crt" 2>/dev/null
  rm "$1.csr" "$1.ext"
}

# kubeconfig NAME SUBJECT: a client certificate and the kubeconfig that holds it
kubeconfig() {
  certificate "$1" "$2"
  cat > "$1.kubeconfig" <<K
apiVersion: v1
kind: Config
clusters: [{name: netpol-verify, cluster: {server: "https://$address:6443", certificate-authority-data: $(base64 -w0 ca.crt)}}]
users: [{name: $1, user: {client-certificate-data: $(base64 -w0 "$1.crt"), client-key-data: $(base64 -w0 "$1.key")}}]
contexts: [{name: netpol-verify, context: {cluster: netpol-verify, user: $1}}]
current-context: netpol-verify
K
}

names=DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:kubernetes.default.svc.cluster.local
certificate apiserver /CN=kube-apiserver "$names,DNS:localhost,IP:127.0.0.1,IP:$address,IP:$service"
certificate apiserver-kubelet /O=system:masters/CN=apiserver-kubelet-client
for node; do
  certificate "kubelet-${node%=*}" "/CN=${node%=*}" "DNS:${node%=*},IP:${node#*=},IP:127.0.0.1"
done
certificate front-proxy /CN=front-proxy-client
certificate calico-apiserver /CN=calico-apiserver DNS:calico-api.calico-apiserver.svc
kubeconfig admin /O=system:masters/CN=admin
kubeconfig kube-controller-manager /CN=system:kube-controller-manager
kubeconfig kube-scheduler /CN=system:kube-scheduler
kubeconfig kube-proxy /CN=system:kube-proxy
for node; do kubeconfig "kubelet-client-${node%=*}" "/O=system:nodes/CN=system:node:${node%=*}"; done

openssl genrsa -out service-accounts.key 2048 2>/dev/null
openssl rsa -in service-accounts.key -pubout -out service-accounts.pub 2>/dev/null

# Kubernetes takes its version from the linker; without it it reports v0.0.0, and Flux and clients misjudge it.
version=v1.36.3
component=k8s.io/component-base/version client=k8s.io/client-go/pkg/version
ldflags="-s -w -X $component.gitVersion=$version -X $component.gitMajor=1 -X $component.gitMinor=36 -X $component.gitTreeState=clean"
ldflags+=" -X $component.buildDate=2026-07-22T00:00:00Z -X $client.gitVersion=$version -X $client.gitMajor=1 -X $client.gitMinor=36"
for program in kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy kubectl; do
  go_build $program k8s.io/kubernetes/cmd/$program "$ldflags"
done

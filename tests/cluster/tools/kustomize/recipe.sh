go_build kustomize sigs.k8s.io/kustomize/kustomize/v5

go_build kustomize-controller github.com/fluxcd/kustomize-controller
crds "$(module_folder github.com/fluxcd/kustomize-controller)"/config/crd/bases/*.yaml

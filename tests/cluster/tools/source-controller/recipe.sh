go_build source-controller github.com/fluxcd/source-controller
crds "$(module_folder github.com/fluxcd/source-controller)"/config/crd/bases/*.yaml

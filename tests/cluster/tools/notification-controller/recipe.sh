go_build notification-controller github.com/fluxcd/notification-controller
crds "$(module_folder github.com/fluxcd/notification-controller)"/config/crd/bases/*.yaml

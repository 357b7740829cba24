go_build kube-router github.com/cloudnativelabs/kube-router/v2/cmd/kube-router

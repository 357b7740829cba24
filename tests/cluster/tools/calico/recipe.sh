export GOFLAGS="-trimpath -mod=mod" # Calico relies on replacements in its own go.mod, which ours repeats
go_build calico-felix github.com/projectcalico/calico/felix/cmd/calico-felix
go_build calico-cni github.com/projectcalico/calico/cni-plugin/cmd/calico
go_build calico-apiserver github.com/projectcalico/calico/apiserver/cmd/apiserver
crds "$(module_folder github.com/projectcalico/calico)"/libcalico-go/config/crd/*.yaml

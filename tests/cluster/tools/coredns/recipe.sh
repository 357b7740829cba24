go_build coredns .

go_build etcd go.etcd.io/etcd/server/v3

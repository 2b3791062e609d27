//go:build tools

// Package tools pins the commands that the test bed builds: the real Kubernetes API server and etcd.
package tools

import (
	_ "go.etcd.io/etcd/server/v3"
	_ "k8s.io/kubernetes/cmd/kube-apiserver"
)

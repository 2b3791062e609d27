//go:build tools

// Package tools pins the controllers that the test bed builds: a module of its own, so that whoever needs an API server alone does not
// build it anew when a controller's needs change.
package tools

import (
	_ "k8s.io/kubernetes/cmd/kube-controller-manager"
	_ "k8s.io/kubernetes/cmd/kube-scheduler"
)

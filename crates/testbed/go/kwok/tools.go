//go:build tools

// Package tools pins the fake nodes that the test bed builds: a module of its own, since kwok is made from other versions of
// Kubernetes' libraries than the servers.
package tools

import (
	_ "sigs.k8s.io/kwok/cmd/kwok"
)

//! kube-yaml

//! kube-overlay

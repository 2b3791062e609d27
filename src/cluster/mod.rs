//! Clusters: finding them in a kubeconfig, connecting, what they serve. Knows nothing of Git.

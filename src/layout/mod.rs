//! The repository's shape: a tree becomes a fleet of environments, regions, clusters and layers. Knows nothing of clusters' state.

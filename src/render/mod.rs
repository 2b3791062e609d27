//! Layers to objects: what each cluster must run at a revision. Knows nothing of clusters' state.

//! The durable record and its queries. Knows nothing of how things came about.

pub mod answers;

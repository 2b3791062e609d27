//! The agent's API on a Unix socket.

//! The daemon: wires the other modules, supervises them and shuts them down.

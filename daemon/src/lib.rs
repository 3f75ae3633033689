//! The daemon: keeps image-generation models resident and serves them over a Unix socket.

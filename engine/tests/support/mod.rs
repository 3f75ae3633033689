//! Tiny diffusers directories for tests, made without Python.

pub mod oracle;

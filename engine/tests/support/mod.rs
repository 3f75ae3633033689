//! Tiny diffusers directories for tests, made without Python.

pub(crate) mod oracle;

//! Async Rust client of imgd.

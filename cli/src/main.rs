//! Command line of imgd.

fn main() {}

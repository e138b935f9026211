//! In preparation.

fn main() {}

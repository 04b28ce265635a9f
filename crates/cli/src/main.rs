//! The bayeslora command line.
fn main() {}

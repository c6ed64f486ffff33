//! Placeholder until the coding kernel lands.
fn main() {}

//! The parts of Palk, so that tests, benches and fuzz targets reach in. The program is `main.rs`.
//!
//! This is not a library with a stable interface.

pub mod cmd;
pub mod core;

#[cfg(test)]
#[path = "../tests/support/deadlocks.rs"]
mod deadlocks;

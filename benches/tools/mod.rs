//! What the benches share: a cluster of real processes, clients of it, a floor to compare it with, and the
//! tables, files and pictures that they make of their figures.
#![allow(dead_code, reason = "no bench uses all of it")]

pub(crate) mod cluster;
pub(crate) mod floor;
pub(crate) mod plain;
pub(crate) mod report;
pub(crate) mod secure;

use std::io::{self, Read, Write};

/// As many bytes as wanted, without any memory for them.
pub(crate) struct Bytes {
    left: u64,
    pattern: Vec<u8>,
}

impl Bytes {
    pub(crate) fn new(count: u64) -> Bytes {
        // Not a power of two, so that no two units of a file are alike.
        Bytes { left: count, pattern: (0..65_521u32).map(|at| (at * 131 % 251) as u8).collect() }
    }
}

impl Read for Bytes {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.left).unwrap_or(usize::MAX);
        let count = buffer.len().min(self.pattern.len()).min(left);
        buffer[..count].copy_from_slice(&self.pattern[..count]);
        self.left -= count as u64;
        Ok(count)
    }
}

/// Counts what is written to it.
#[derive(Default)]
pub(crate) struct Counter(pub(crate) u64);

impl Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

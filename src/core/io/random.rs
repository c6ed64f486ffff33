//! The only door to randomness: ids of versions and clusters, tokens, and which nodes are picked.
//!
//! From the system in the program, from a seed in a simulation, which then repeats exactly.

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{RngExt, SeedableRng};

use crate::core::types::{ClusterId, ServerId, VersionId};

/// A source of randomness that threads can share.
pub struct Random(Mutex<StdRng>);

impl Random {
    /// Seeded by the operating system.
    pub fn from_system() -> Random {
        Random(Mutex::new(rand::make_rng()))
    }

    /// The same for the same seed, for simulations.
    pub fn seeded(seed: u64) -> Random {
        Random(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    /// A version's id.
    pub fn version(&self) -> VersionId {
        VersionId(self.0.lock().random())
    }

    /// A cluster's id.
    pub fn cluster(&self) -> ClusterId {
        ClusterId(self.0.lock().random())
    }

    /// The id of a server that starts, in the folder of the one before it if there was one.
    pub fn server(&self, before: Option<ServerId>) -> ServerId {
        let drawn = ServerId(self.0.lock().random());
        before.map_or(drawn, |before| before.next(drawn))
    }

    /// A number that leaves room for as many above it.
    pub fn number(&self) -> u64 {
        self.0.lock().random::<u64>() >> 1
    }

    /// What nobody can guess: 256 bits for a token.
    pub fn secret(&self) -> [u8; 32] {
        self.0.lock().random()
    }

    /// Puts these into a random order.
    pub fn shuffle<T>(&self, values: &mut [T]) {
        values.shuffle(&mut *self.0.lock());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_repeats_and_the_system_does_not() {
        assert_eq!(Random::seeded(7).version(), Random::seeded(7).version());
        assert_ne!(Random::seeded(7).version(), Random::seeded(8).version());
        assert_ne!(Random::from_system().version(), Random::from_system().version());
    }
}

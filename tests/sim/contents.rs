//! Every content that was ever stored, found by its digest, and what is put together of parts of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use palk::core::types::Digest;

/// What some bytes are.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Part {
    pub(crate) blake3: Digest,
    pub(crate) bytes: u64,
}

/// A part of a content: from a byte to before another.
pub(crate) type Run = (Digest, [u64; 2]);

/// The same contents for all who have one of these.
#[derive(Clone, Default)]
pub(crate) struct Contents {
    all: Arc<Mutex<BTreeMap<Digest, Arc<Vec<u8>>>>>,
    /// What was put together before.
    joined: Arc<Mutex<BTreeMap<Vec<Run>, Part>>>,
}

pub(crate) fn digest(content: &[u8]) -> Digest {
    Digest(*blake3::hash(content).as_bytes())
}

pub(crate) fn part(content: &[u8]) -> Part {
    Part { blake3: digest(content), bytes: content.len() as u64 }
}

impl Contents {
    pub(crate) fn remember(&self, content: &[u8]) -> Part {
        let part = part(content);
        let mut all = self.all.lock().unwrap();
        all.entry(part.blake3).or_insert_with(|| Arc::new(content.to_vec()));
        part
    }

    pub(crate) fn of(&self, blake3: Digest) -> Arc<Vec<u8>> {
        let found = self.all.lock().unwrap().get(&blake3).cloned();
        found.unwrap_or_else(|| panic!("nobody has ever stored {blake3:?}"))
    }

    pub(crate) fn run(&self, (blake3, run): &Run) -> Vec<u8> {
        let [from, to] = run.map(|at| usize::try_from(at).unwrap());
        self.of(*blake3)[from..to].to_vec()
    }

    /// These runs, one behind the other.
    pub(crate) fn join(&self, runs: &[Run]) -> Part {
        if let Some(known) = self.joined.lock().unwrap().get(runs) {
            return *known;
        }
        let content: Vec<u8> = runs.iter().flat_map(|run| self.run(run)).collect();
        let part = self.remember(&content);
        self.joined.lock().unwrap().insert(runs.to_vec(), part);
        part
    }
}

//! Trying every repair again at once, without waiting for any backoff, and what came of it.
//!
//! A request has a number. Each repair worker that sees a new one forgets its backoffs, and notes when it
//! has been through all that its node lacks, with the reason if something could not be rebuilt. So the
//! one who asked knows when waiting longer is of no use.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::core::types::{NODE_COUNT, NodeId};

/// How the last pass over all that a node lacks ended.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Tried {
    /// The number of the request that had been heard when it began.
    pub asked: u64,
    /// Why something could not be rebuilt, if so: the last of the reasons.
    pub why: Option<String>,
}

/// Requests, numbered from 1, and what came of them.
#[derive(Default)]
pub struct Retry {
    asked: AtomicU64,
    tried: Mutex<[Tried; NODE_COUNT]>,
}

impl Retry {
    /// Asks that everything be tried at once; gives the number of this request. The workers are to be
    /// notified after it.
    pub fn ask(&self) -> u64 {
        self.asked.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The number of the last request; 0 if there was none.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// Notes that all that this node lacks has been tried once.
    pub fn note(&self, id: NodeId, tried: Tried) {
        self.tried.lock()[id.index()] = tried;
    }

    /// How the last pass over what this node lacks ended.
    pub fn tried(&self, id: NodeId) -> Tried {
        self.tried.lock()[id.index()].clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_tried_is_known_for_each_node() {
        let retry = Retry::default();
        assert_eq!((retry.asked(), retry.ask(), retry.asked()), (0, 1, 1));
        let full = Tried { asked: 1, why: Some("its disk is full".into()) };
        retry.note(NodeId::ALL[2], full.clone());
        assert_eq!(retry.tried(NodeId::ALL[2]), full);
        assert_eq!(retry.tried(NodeId::ALL[1]), Tried::default());
    }
}

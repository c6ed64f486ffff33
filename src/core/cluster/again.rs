//! Trying everything that is owed again at once, without waiting for any pause, and what came of it.
//!
//! Somebody asks; each attendant and each healer sees that it has been asked anew, forgets its pauses,
//! and notes when it has been through all that it has to do, with the reason if something of it
//! could not be done. So whoever asked knows when waiting longer is of no use.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::core::types::NodeId;

/// What is tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Work {
    /// Delivering orders, which attendants do.
    Orders,
    /// Rebuilding pieces, which healers do.
    Repairs,
}

/// How the last pass over all that a node is owed ended.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Tried {
    /// The number of the request that had been heard when it began.
    pub asked: u64,
    /// Why something could not be done in it, if so: the last of the reasons.
    pub why: Option<String>,
}

/// Requests, numbered from 1, and what came of them.
#[derive(Default)]
pub struct Again {
    asked: AtomicU64,
    tried: Mutex<[[Tried; 2]; 4]>,
}

impl Again {
    /// Asks that everything be tried at once; gives the number of this request. The bell is to be
    /// rung after it.
    pub fn ask(&self) -> u64 {
        self.asked.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// The number of the last request; 0 if there was none.
    pub fn asked(&self) -> u64 {
        self.asked.load(Ordering::SeqCst)
    }

    /// Notes that all that this node is owed of this kind has been tried once.
    pub fn note(&self, id: NodeId, work: Work, tried: Tried) {
        self.tried.lock()[id.index()][work as usize] = tried;
    }

    /// How the last pass over this node's work ended.
    pub fn tried(&self, id: NodeId, work: Work) -> Tried {
        self.tried.lock()[id.index()][work as usize].clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_tried_is_known_for_each_node_and_kind() {
        let again = Again::default();
        assert_eq!((again.asked(), again.ask(), again.asked()), (0, 1, 1));
        let full = Tried { asked: 1, why: Some("its disk is full".into()) };
        again.note(NodeId::ALL[2], Work::Repairs, full.clone());
        assert_eq!(again.tried(NodeId::ALL[2], Work::Repairs), full);
        assert_eq!(again.tried(NodeId::ALL[2], Work::Orders), Tried::default());
        assert_eq!(again.tried(NodeId::ALL[1], Work::Repairs), Tried::default());
    }
}

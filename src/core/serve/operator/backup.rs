//! Verb `backup`: a snapshot of the catalog on every node, now.

use std::panic;
use std::thread;

use crate::core::error::Result;
use crate::core::serve::operator::{Caller, LOOK_EVERY, Operator, Reporter};
use crate::core::status::State;
use crate::core::types::{NodeId, NodeSet};
use crate::core::wire::reports::{BackedUp, Without};

impl Operator {
    /// Gives every node that is up a snapshot of what the catalog is now. Gives the exit status: 0 if
    /// all four have it, 20 if not.
    ///
    /// # Errors
    /// If this server may change nothing, or no snapshot can be made.
    pub fn back_up(&self, caller: &mut dyn Caller) -> Result<(u8, BackedUp)> {
        self.may_work()?;
        let mut reporter = Reporter::new(caller);
        let snapshots = &self.cluster.snapshots;
        let (have, troubles) = thread::scope(|scope| {
            let work = scope.spawn(|| snapshots.snapshot_now(snapshots.now()));
            while !work.is_finished() {
                // Nothing is known of how far it is, but that it goes on.
                reporter.tell(|| Ok(BackedUp::default()))?;
                thread::sleep(LOOK_EVERY);
            }
            work.join().unwrap_or_else(|payload| panic::resume_unwind(payload))
        })?;
        let nodes: Vec<NodeId> = have.iter().collect();
        let why = |node| {
            let trouble = troubles.0.iter().find(|trouble| trouble.node == node);
            trouble.map_or_else(|| "it is not up".to_owned(), |trouble| trouble.why.clone())
        };
        let without = have.complement().iter().map(|node| Without { node, why: why(node) });
        let state = if have == NodeSet::ALL { State::Healthy } else { State::Degraded };
        Ok((state.exit_status(), BackedUp { nodes, without: without.collect() }))
    }
}

//! Is this server still the one that the nodes serve?
//!
//! ```text
//!   new ──three nodes have registered it──> established ──a node serves another──> taken over
//!    └───────────────a node serves another──────────────────────────────────────────^
//! ```
//!
//! Before it is established a server only reads: it sends the nodes no orders and answers no change.
//! Once another server is established, three nodes refuse this one, so that the two confirmations
//! that a change needs before it is answered cannot be had any more. So every change that one server
//! has answered came before the first change of the next. That it was taken over a server learns
//! from any node, and it is for good.

use std::sync::OnceLock;

use parking_lot::Mutex;

use crate::core::error::{Error, Result};
use crate::core::types::{NodeId, NodeSet, WRITE_QUORUM};

/// What the nodes have made of this server.
#[derive(Default)]
pub struct Standing {
    registered: Mutex<NodeSet>,
    taken_over: OnceLock<u64>,
}

impl Standing {
    /// A node has welcomed this server.
    pub(super) fn registered(&self, node: NodeId) {
        self.registered.lock().insert(node);
    }

    /// A node has refused this server, since it serves another with this epoch.
    pub(super) fn taken_over(&self, node: NodeId, epoch: u64) {
        if self.taken_over.set(epoch).is_ok() {
            tracing::error!(
                "data server {node}: another server has taken over (epoch {epoch}); this one serves \
                 no longer"
            );
        }
    }

    /// The nodes that have registered this server at some time since it started.
    pub fn who_registered(&self) -> NodeSet {
        *self.registered.lock()
    }

    /// Have enough nodes registered it for no older server to be able to change anything?
    pub fn is_established(&self) -> bool {
        self.who_registered().len() >= WRITE_QUORUM
    }

    /// Is it still the cluster's server, as far as it knows?
    ///
    /// # Errors
    /// [`Error::TakenOver`].
    pub fn check(&self) -> Result<()> {
        self.taken_over.get().map_or(Ok(()), |epoch| Err(Error::TakenOver { epoch: *epoch }))
    }

    /// Waits until another server has taken over, and gives that one's epoch.
    pub fn wait_until_taken_over(&self) -> u64 {
        *self.taken_over.wait()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn three_nodes_establish_a_server_and_one_ends_it() {
        let standing = Standing::default();
        for node in [NodeId::ALL[0], NodeId::ALL[2], NodeId::ALL[2]] {
            standing.registered(node);
            assert!(!standing.is_established());
        }
        standing.registered(NodeId::ALL[3]);
        assert!(standing.is_established() && standing.check().is_ok());
        standing.taken_over(NodeId::ALL[1], 7);
        standing.taken_over(NodeId::ALL[0], 8);
        assert!(matches!(standing.check(), Err(Error::TakenOver { epoch: 7 })));
        assert_eq!(standing.wait_until_taken_over(), 7);
    }
}

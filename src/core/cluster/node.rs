//! What the server needs of a node: a small trait, so that the same code runs over simulated nodes.
//!
//! Every error of an implementation is [`Error::Node`](crate::core::error::Error::Node) and names
//! the node.

use std::time::Duration;

use crate::core::code::repair::Select;
use crate::core::error::Result;
use crate::core::types::{Claim, Digest, NodeId, Seq, VersionId};
use crate::core::wire::journal::{Entry, JournalState, Point};
use crate::core::wire::node::{Alive, Append, PieceMeta, Serves, ViewReport};
use crate::core::wire::snapshot::{SnapshotReply, SnapshotRequest};

/// Which units of a version to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    /// The version.
    pub version: VersionId,
    /// The first stripe.
    pub first_stripe: u64,
    /// How many stripes, at least one.
    pub stripes: u64,
    /// What of each stripe.
    pub select: Select,
}

/// One storage node. Whatever it is asked, it answers only a server that is registered with it:
/// [`NodeFailure::Fenced`](crate::core::error::NodeFailure::Fenced) says that another one is.
pub trait Node: Send + Sync {
    /// Which one.
    fn id(&self) -> NodeId;

    /// Probes it, and tells it up to which entry all is decided.
    ///
    /// # Errors
    /// If it does not answer.
    fn ping(&self, decided: u64) -> Result<Alive>;

    /// Has it write something small to its disk and sync it.
    ///
    /// # Errors
    /// If it cannot, or does not answer.
    fn prove_disk(&self) -> Result<()> {
        Ok(())
    }

    /// Begins to send it a piece.
    ///
    /// # Errors
    /// If it cannot be reached.
    fn stage(&self, meta: &PieceMeta) -> Result<Box<dyn PieceSink>>;

    /// Begins to receive units from it.
    ///
    /// # Errors
    /// If it cannot be reached.
    fn read(&self, query: &Query) -> Result<Box<dyn PieceSource>>;

    /// Has it read stripes of a version from its disk; the checksums of what it has read, a pair for
    /// each stripe. At most [`VERIFY_STRIPES_MAX`](crate::core::wire::node::VERIFY_STRIPES_MAX).
    ///
    /// # Errors
    /// If it does not hold them, they are damaged, or it cannot be reached.
    fn verify(&self, version: VersionId, first_stripe: u64, stripes: u64) -> Result<Vec<[u64; 2]>>;

    /// Adds entries to its journal, with the pieces in `body`. Gives how far its journal is then: not
    /// where the last of the entries is, if they do not fit behind what is there.
    ///
    /// # Errors
    /// If it cannot be reached or its disk fails; it may have them all the same.
    fn append(&self, append: &Append, body: &[&[u8]]) -> Result<JournalState>;

    /// The same without waiting for the answer. An implementation that cannot do that waits. `None` if
    /// that would take a new connection and none may be made, since it may have to be waited for.
    ///
    /// # Errors
    /// As [`Node::append`].
    fn begin_append(
        &self,
        append: Append,
        body: &[&[u8]],
        _may_connect: bool,
    ) -> Result<Option<Box<dyn PendingAppend>>> {
        let journal = self.append(&append, body)?;
        Ok(Some(Box::new(Answered(journal))))
    }

    /// What entry `id` of its journal is; `None` if it does not have it, or no longer.
    ///
    /// # Errors
    /// If it cannot be reached.
    fn point_at(&self, id: u64) -> Result<Option<Point>>;

    /// Passes on all entries behind this point, part by part.
    ///
    /// # Errors
    /// If it does not have that point, or cannot be reached; those of `take`.
    fn entries(&self, after: Point, take: &mut dyn FnMut(Vec<Entry>) -> Result<()>) -> Result<()>;

    /// Asks about snapshots; the bytes are those of a message's body, both ways.
    ///
    /// # Errors
    /// If it cannot be reached, or cannot do it.
    fn snapshot(&self, request: &SnapshotRequest, body: &[u8]) -> Result<(SnapshotReply, Vec<u8>)>;

    /// The versions of which it holds any block, above `after`, ascending; empty once there are no
    /// more.
    ///
    /// # Errors
    /// If it cannot be reached, or its disk fails.
    fn pieces(&self, after: Option<VersionId>) -> Result<Vec<VersionId>>;

    /// Those of these versions of which it does not hold both blocks.
    ///
    /// # Errors
    /// If it cannot be reached, or its disk fails.
    fn lacks(&self, versions: &[VersionId]) -> Result<Vec<VersionId>>;

    /// Has it remove the pieces of these versions.
    ///
    /// # Errors
    /// If it cannot be reached, or its disk fails.
    fn discard(&self, versions: &[VersionId]) -> Result<()>;

    /// Tells it that the catalog says what it lacks; see [`JournalState::gap`].
    ///
    /// # Errors
    /// If it cannot be reached, or its disk fails.
    fn close_gap(&self, gap: u64) -> Result<()>;

    /// Has it compare its view with its journal and put it right.
    ///
    /// # Errors
    /// If it cannot be reached, or its disk fails.
    fn check_view(&self) -> Result<ViewReport>;

    /// How far its journal was when it last said hello; `None` if it never has. Asks nothing of it.
    fn greeted(&self) -> Option<JournalState>;

    /// From now on its server registers with this. Connections that it registered on with something else
    /// are not used any more, and nothing counts as greeted.
    fn register_as(&self, claim: Claim);

    /// Forgets kept connections, which may lead to a process that is gone.
    fn forget_connections(&self);

    /// Asks who is at this address, as this node, without joining it to anything.
    ///
    /// # Errors
    /// If nobody answers there, or it is no such node.
    fn who_serves_at(&self, address: &str) -> Result<Serves>;

    /// Asks whom it serves, without becoming its server.
    ///
    /// # Errors
    /// If it cannot be reached.
    fn who_serves(&self) -> Result<Serves>;

    /// Looks for it at another address from now on.
    fn move_to(&self, address: &str);

    /// Says that this server ends, so that the next one need not wait until it is forgotten.
    ///
    /// # Errors
    /// If it cannot be reached.
    fn bye(&self) -> Result<()>;
}

/// Entries that a node was sent and has not answered yet.
pub trait PendingAppend: Send {
    /// Waits for how far its journal is then, at most so long; `None` if no answer has come by then.
    ///
    /// # Errors
    /// As [`Node::append`]; also once the node has been silent for too long since they were sent.
    fn wait(&mut self, longest: Duration) -> Result<Option<JournalState>>;
}

/// It has answered already.
struct Answered(JournalState);

impl PendingAppend for Answered {
    fn wait(&mut self, _longest: Duration) -> Result<Option<JournalState>> {
        Ok(Some(self.0))
    }
}

/// A piece on its way to a node. Dropped before it is staged, it leaves nothing there.
pub trait PieceSink: Send {
    /// Sends the next stripe's two units.
    ///
    /// # Errors
    /// If the node does not take them.
    fn units(&mut self, units: [&[u8]; 2], checksums: [u64; 2]) -> Result<()>;

    /// Says that the file ends behind the stripes that were sent: see
    /// [`Request::Shorten`](crate::core::wire::node::Request::Shorten).
    ///
    /// # Errors
    /// If the node has gone.
    fn shorten(&mut self, file_bytes: u64) -> Result<()>;

    /// Says that there is nothing to send just now.
    ///
    /// # Errors
    /// If the node has gone.
    fn keep_alive(&mut self) -> Result<()>;

    /// Asks the node to make the piece durable, without waiting for it.
    ///
    /// # Errors
    /// If the node has gone.
    fn ask_finish(&mut self, seq: Seq, blake3: Digest) -> Result<()>;

    /// Waits until the piece is durable. To be called once, after `ask_finish`.
    ///
    /// # Errors
    /// With the node's reason if it is not.
    fn await_staged(&mut self) -> Result<()>;
}

/// Units on their way from a node.
pub trait PieceSource: Send {
    /// The next stripe's units, put into `body`, and their checksums as the node has them.
    ///
    /// # Errors
    /// If it does not hold them, cannot read them, or does not send them in time.
    fn units(&mut self, body: &mut Vec<u8>) -> Result<[u64; 2]>;

    /// The same, if they begin to come within this time; `None` else, and they may be asked for again.
    ///
    /// # Errors
    /// As above.
    fn units_within(&mut self, body: &mut Vec<u8>, _longest: Duration) -> Result<Option<[u64; 2]>> {
        self.units(body).map(Some)
    }
}

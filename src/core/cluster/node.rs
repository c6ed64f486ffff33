//! What the server needs of a node: a small trait, so that the same volume runs over simulated
//! nodes.
//!
//! Every error of an implementation is [`Error::Node`](crate::core::error::Error::Node) and names
//! the node.

use crate::core::code::repair::Select;
use crate::core::error::Result;
use crate::core::types::{Digest, NodeId, VersionId};
use crate::core::wire::backup::{Answer, Ask, Finding, Serves};
use crate::core::wire::node::{Order, Outcome, PieceMeta, Place};

/// Which units of a version to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    /// The version.
    pub version: VersionId,
    /// Its final place.
    pub place: Place,
    /// The first stripe.
    pub first_stripe: u64,
    /// How many stripes, at least one.
    pub stripes: u64,
    /// What of each stripe.
    pub select: Select,
}

/// One storage node.
pub trait Node: Send + Sync {
    /// Which one.
    fn id(&self) -> NodeId;

    /// Is it there?
    ///
    /// # Errors
    /// If it does not answer.
    fn ping(&self) -> Result<()>;

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

    /// Has it carry out orders; one outcome for each.
    ///
    /// # Errors
    /// If it cannot be reached; some may have been carried out.
    fn carry(&self, orders: &[Order]) -> Result<Vec<Outcome>>;

    /// The versions it has staged, above `after`, ascending; empty once there are no more.
    ///
    /// # Errors
    /// If it cannot be reached.
    fn staged(&self, after: Option<VersionId>) -> Result<Vec<VersionId>>;

    /// Forgets kept connections, which may lead to a process that is gone.
    fn forget_connections(&self);

    /// Asks about the catalog's backup; the bytes are those of a message's body, both ways.
    ///
    /// # Errors
    /// If it cannot be reached, or cannot do it.
    fn backup(&self, ask: &Ask, body: &[u8]) -> Result<(Answer, Vec<u8>)>;

    /// All that lies on its disk, passed on part by part.
    ///
    /// # Errors
    /// If it cannot be reached; those of `take`.
    fn evidence(&self, take: &mut dyn FnMut(Vec<Finding>) -> Result<()>) -> Result<()>;

    /// Asks whom it serves, without becoming its server.
    ///
    /// # Errors
    /// If it cannot be reached.
    fn who_serves(&self) -> Result<Serves>;
}

/// A piece on its way to a node. Dropped before it is staged, it leaves nothing there.
pub trait PieceSink: Send {
    /// Sends the next stripe's two units.
    ///
    /// # Errors
    /// If the node does not take them.
    fn units(&mut self, units: [&[u8]; 2], checksums: [u64; 2]) -> Result<()>;

    /// Says that there is nothing to send just now.
    ///
    /// # Errors
    /// If the node has gone.
    fn keep_alive(&mut self) -> Result<()>;

    /// Asks the node to make the piece durable, without waiting for it.
    ///
    /// # Errors
    /// If the node has gone.
    fn ask_finish(&mut self, blake3: Digest) -> Result<()>;

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
}

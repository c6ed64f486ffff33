//! What the server needs of a node: a small trait, so that the same volume runs over simulated
//! nodes.
//!
//! Every error of an implementation is [`Error::Node`](crate::core::error::Error::Node) and names
//! the node.

use crate::core::code::repair::Select;
use crate::core::error::Result;
use crate::core::types::{Digest, NodeId, VersionId};
use crate::core::wire::backup::{Answer, Ask, Finding};
use crate::core::wire::node::{
    Formerly, InventoryEntry, Order, Outcome, PieceMeta, Place, Room, Serves,
};

/// Which units of a version to send.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Query {
    /// The version.
    pub version: VersionId,
    /// Its final place.
    pub place: Place,
    /// Where else it may lie on this node.
    pub formerly: Formerly,
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

    /// Is it there? With the room on its disk, if it can tell.
    ///
    /// # Errors
    /// If it does not answer.
    fn ping(&self) -> Result<Option<Room>>;

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

    /// Has it carry out orders; one outcome for each. What was sent to it before a move and reaches
    /// it after that is not done.
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

    /// Has it read stripes of a version from its disk; the checksums of what it has read, a pair for
    /// each stripe. At most [`VERIFY_STRIPES_MAX`](crate::core::wire::node::VERIFY_STRIPES_MAX).
    ///
    /// # Errors
    /// If it does not hold them, they are damaged, or it cannot be reached.
    fn verify(
        &self,
        version: VersionId,
        place: &Place,
        formerly: &Formerly,
        first_stripe: u64,
        stripes: u64,
    ) -> Result<Vec<[u64; 2]>>;

    /// Begins to list what lies under its final names.
    ///
    /// # Errors
    /// If it cannot be reached.
    fn inventory(&self) -> Result<Box<dyn InventoryPages>>;

    /// Has it said, since this was last asked, that it belonged to no cluster before this server
    /// came? Asks nothing of it.
    fn was_fresh(&self) -> bool;

    /// Asks who is at this address, as this node, without joining it to anything.
    ///
    /// # Errors
    /// If nobody answers there, or it is no such node.
    fn who_serves_at(&self, address: &str) -> Result<Serves>;

    /// Looks for it at another address from now on.
    fn move_to(&self, address: &str);

    /// Says that this server ends, so that the next one need not wait until it is forgotten.
    ///
    /// # Errors
    /// If it cannot be reached.
    fn bye(&self) -> Result<()>;

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

/// What lies on a node, on its way from it.
pub trait InventoryPages: Send {
    /// The next entries; none at the end.
    ///
    /// # Errors
    /// If it cannot read its folder, or does not answer in time.
    fn page(&mut self) -> Result<Vec<InventoryEntry>>;
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

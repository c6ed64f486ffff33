//! Are the pieces of one file what they should be? Step by step.
//!
//! Every node reads its own piece from its disk and sends the checksums of what it has read. Those
//! of three or four nodes are held against each other, which costs nothing. If they contradict each
//! other, or if that is wanted anyway, the bytes of all are read and compared ([`Audit`]).

use crate::core::catalog::Surveyed;
use crate::core::cluster::audit::Audit;
use crate::core::cluster::roster::Roster;
use crate::core::code::agreement::agree;
use crate::core::code::layout::Layout;
use crate::core::error::{Error, NodeFailure};
use crate::core::types::{NodeId, NodeSet};
use crate::core::wire::node::{Formerly, Place, VERIFY_STRIPES_MAX};

/// Stripes that every node reads in one step: 32 MiB on four nodes together.
const STEP_STRIPES: u64 = 16;

const _: () = assert!(STEP_STRIPES <= VERIFY_STRIPES_MAX);

/// What is known of a file's pieces.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Checked {
    /// The nodes whose pieces are right, as far as has been asked.
    pub(super) sound: NodeSet,
    /// The nodes that do not have theirs.
    pub(super) missing: NodeSet,
    /// The nodes whose bytes are not those that were stored.
    pub(super) wrong: NodeSet,
    /// The nodes that could not be asked, or did not answer.
    pub(super) unchecked: NodeSet,
    /// The bytes are not those that were stored, and no node can be named.
    pub(super) damaged: bool,
}

impl Checked {
    /// Takes in why a node did not answer for its piece.
    pub(super) fn failed(&mut self, id: NodeId, error: &Error) {
        self.sound.remove(id);
        match error {
            Error::Node { why: NodeFailure::NotHeld(_), .. } => self.missing.insert(id),
            Error::Node { why: NodeFailure::Damaged(_), .. } => self.wrong.insert(id),
            _ => self.unchecked.insert(id),
        }
    }

    pub(super) fn wrong(&mut self, id: NodeId) {
        self.sound.remove(id);
        self.wrong.insert(id);
    }
}

/// A file that is being checked.
pub(super) struct Check {
    /// The file.
    pub(super) file: Surveyed,
    /// Where it lies on the nodes that are asked; it may have been moved since it was listed.
    place: Place,
    layout: Layout,
    checked: Checked,
    next_stripe: u64,
    witness: bool,
    audit: Option<Audit>,
}

impl Check {
    /// Begins to check these nodes' pieces of a file that is called so now, none of which a move is
    /// owed to; `witness` wants the bytes compared in any case.
    pub(super) fn begin(
        roster: &Roster,
        file: Surveyed,
        place: Place,
        nodes: NodeSet,
        witness: bool,
    ) -> Check {
        let up = roster.up();
        let checked = Checked {
            sound: nodes.and(up),
            unchecked: nodes.and(up.complement()),
            ..Checked::default()
        };
        let layout = Layout::new(file.record.bytes);
        Check { file, place, layout, checked, next_stripe: 0, witness, audit: None }
    }

    /// Makes a step. Gives how many bytes were read on the nodes, and at the end what is known.
    pub(super) fn step(&mut self, roster: &Roster) -> (u64, Option<Checked>) {
        if let Some(audit) = &mut self.audit {
            let (bytes, ended) = audit.step(roster, &mut self.checked);
            return (bytes, ended.then_some(self.checked));
        }
        if self.checked.sound.is_empty() {
            return (0, Some(self.checked));
        }
        let (bytes, agreed) = self.verify(roster);
        let ended = self.next_stripe == self.layout.stripe_count();
        if !agreed || (ended && self.witness) {
            let (record, place) = (&self.file.record, &self.place);
            let nodes = self.checked.sound;
            self.audit = Some(Audit::begin(
                roster,
                record.version,
                place,
                self.layout,
                record.blake3,
                nodes,
                &mut self.checked,
            ));
            return (bytes, None);
        }
        (bytes, ended.then_some(self.checked))
    }

    /// Has the nodes read the next stripes; false if what they say does not fit together.
    fn verify(&mut self, roster: &Roster) -> (u64, bool) {
        let first = self.next_stripe;
        let stripes = STEP_STRIPES.min(self.layout.stripe_count() - first);
        let (version, place) = (self.file.record.version, &self.place);
        let mut answers: [Option<Vec<[u64; 2]>>; 4] = Default::default();
        for id in self.checked.sound.iter() {
            let node = roster.node(id);
            match roster.used(id, node.verify(version, place, &Formerly::default(), first, stripes))
            {
                Ok(sums) => answers[id.index()] = Some(sums),
                Err(error) => {
                    tracing::debug!("{place}: {error}");
                    self.checked.failed(id, &error);
                }
            }
        }
        self.next_stripe += stripes;
        let unit_bytes = (first..self.next_stripe).map(|stripe| self.layout.unit_bytes(stripe));
        let (mut bytes, mut agreed) = (0, true);
        for (at, unit_bytes) in unit_bytes.enumerate() {
            let sums = std::array::from_fn(|node| {
                answers[node].as_ref().and_then(|sums| sums.get(at).copied())
            });
            agreed &= agree(sums, unit_bytes);
            bytes += 2 * unit_bytes as u64 * self.checked.sound.len() as u64;
        }
        (bytes, agreed)
    }
}

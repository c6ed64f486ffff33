//! Are the pieces of a file what they should be? Step by step, one file after the other.
//!
//! Every node reads its own piece from its disk and sends the checksums of what it has read. Those
//! of three or four nodes are held against each other, which costs nothing. If they contradict each
//! other, or if that is wanted anyway, the bytes of all are read and compared ([`Audit`]).

use std::collections::VecDeque;

use crate::core::catalog::Surveyed;
use crate::core::cluster::Cluster;
use crate::core::cluster::audit::Audit;
use crate::core::cluster::pace::Throttle;
use crate::core::cluster::roster::Roster;
use crate::core::cluster::volume::Volume;
use crate::core::code::agreement::agree;
use crate::core::code::layout::Layout;
use crate::core::error::{Error, NodeFailure, Result, Troubles};
use crate::core::types::{NodeId, NodeSet, VersionId};
use crate::core::wire::node::VERIFY_STRIPES_MAX;

/// Stripes that every node reads in one step: 32 MiB on four nodes together.
const STEP_STRIPES: u64 = 16;

/// Files that are taken from the catalog at a time.
const FILES_PAGE: usize = 64;

const _: () = assert!(STEP_STRIPES <= VERIFY_STRIPES_MAX);

/// What is known of a file's pieces.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Checked {
    /// The nodes whose pieces are right, as far as has been asked.
    pub(super) sound: NodeSet,
    /// The nodes that do not have theirs.
    pub(super) missing: NodeSet,
    /// The nodes whose bytes are not those that were stored.
    pub(super) wrong: NodeSet,
    /// The nodes that could not be asked, or did not answer, and why.
    pub(super) unchecked: Troubles,
    /// The last entry of the journal when the file was looked up.
    pub(super) seen: u64,
    /// The bytes are not those that were stored, and no node can be named.
    pub(super) damaged: bool,
}

impl Checked {
    /// Takes in why a node did not answer for its piece. One that is not in step may still receive it.
    pub(super) fn failed(&mut self, id: NodeId, error: &Error, in_step: NodeSet) {
        self.sound.remove(id);
        match error {
            Error::Node { why: NodeFailure::NotHeld(_), .. } if in_step.contains(id) => {
                self.missing.insert(id);
            }
            Error::Node { why: NodeFailure::Damaged(_), .. } => self.wrong.insert(id),
            Error::Node { why, .. } => self.unchecked.note(id, unchecked(why)),
            other => self.unchecked.note(id, other.to_string()),
        }
    }

    /// Those of which it is known that they do not have what was stored.
    pub(super) fn without(&self) -> NodeSet {
        self.missing.or(self.wrong)
    }

    pub(super) fn wrong(&mut self, id: NodeId) {
        self.sound.remove(id);
        self.wrong.insert(id);
    }
}

/// Why a node did not answer for its piece.
fn unchecked(why: &NodeFailure) -> String {
    match why {
        NodeFailure::NotHeld(_) => "it does not have the whole journal".to_owned(),
        other => other.to_string(),
    }
}

/// Checks one file after the other, in the order of their versions' ids.
pub(super) struct Walk {
    after: Option<VersionId>,
    page: VecDeque<Surveyed>,
    check: Option<Check>,
    witness: bool,
}

/// What a step of a walk has come to; with it the bytes that were read on the nodes.
pub(super) enum Walked {
    /// There is more to do.
    On(u64),
    /// A file has been checked.
    Checked(u64, Surveyed, Checked),
    /// A version that was replaced or deleted since it was listed.
    Gone(VersionId),
    /// There are no more files.
    End,
}

impl Walk {
    /// Begins behind this version; `witness` wants the bytes compared in any case.
    pub(super) fn new(after: Option<VersionId>, witness: bool) -> Walk {
        Walk { after, page: VecDeque::new(), check: None, witness }
    }

    pub(super) fn step(&mut self, cluster: &Cluster, throttle: &mut Throttle) -> Result<Walked> {
        if let Some(check) = &mut self.check {
            throttle.begin();
            let (bytes, is_done) = check.step(&cluster.roster);
            throttle.moved(bytes);
            if !is_done {
                return Ok(Walked::On(bytes));
            }
            return Ok(match self.check.take() {
                Some(Check { file, checked, .. }) => Walked::Checked(bytes, file, checked),
                None => Walked::On(bytes),
            });
        }
        if let Some(version) = self.page.front().map(|listed| listed.record.version) {
            let seen = cluster.catalog.end()?.id;
            let current = cluster.catalog.version(version)?;
            self.page.pop_front();
            let Some(file) = current else { return Ok(Walked::Gone(version)) };
            self.check = Some(Check::begin(&cluster.volume, file, seen, self.witness));
            return Ok(Walked::On(0));
        }
        self.page = cluster.catalog.files_after(self.after, FILES_PAGE)?.into();
        let Some(last) = self.page.back() else { return Ok(Walked::End) };
        self.after = Some(last.record.version);
        Ok(Walked::On(0))
    }
}

/// A file that is being checked.
struct Check {
    file: Surveyed,
    layout: Layout,
    in_step: NodeSet,
    checked: Checked,
    next_stripe: u64,
    witness: bool,
    audit: Option<Audit>,
}

impl Check {
    /// Begins to check the pieces of a file on the nodes where they are placed; `witness` wants the
    /// bytes compared in any case.
    fn begin(volume: &Volume, file: Surveyed, seen: u64, witness: bool) -> Check {
        let (placed, up) = (file.record.placed, volume.roster().up());
        let checked = Checked {
            sound: placed.and(up),
            unchecked: volume.roster().troubles(placed),
            seen,
            ..Checked::default()
        };
        let layout = Layout::new(file.record.bytes);
        let in_step = volume.in_step();
        Check { file, layout, in_step, checked, next_stripe: 0, witness, audit: None }
    }

    /// Makes a step. Gives how many bytes were read on the nodes, and whether all is known.
    fn step(&mut self, roster: &Roster) -> (u64, bool) {
        if let Some(audit) = &mut self.audit {
            let (bytes, ended) = audit.step(roster, &mut self.checked);
            return (bytes, ended);
        }
        if self.checked.sound.is_empty() {
            return (0, true);
        }
        let (bytes, agreed) = self.verify(roster);
        let ended = self.next_stripe == self.layout.stripe_count();
        if !agreed || (ended && self.witness) {
            let nodes = self.checked.sound;
            let file = (&self.file, self.layout);
            self.audit = Some(Audit::begin(roster, file, nodes, self.in_step, &mut self.checked));
            return (bytes, false);
        }
        (bytes, ended)
    }

    /// Has the nodes read the next stripes; false if what they say does not fit together.
    fn verify(&mut self, roster: &Roster) -> (u64, bool) {
        let first = self.next_stripe;
        let stripes = STEP_STRIPES.min(self.layout.stripe_count() - first);
        let version = self.file.record.version;
        let mut answers: [Option<Vec<[u64; 2]>>; 4] = Default::default();
        for id in self.checked.sound.iter() {
            let node = roster.node(id);
            match roster.used(id, node.verify(version, first, stripes)) {
                Ok(sums) => answers[id.index()] = Some(sums),
                Err(error) => {
                    tracing::debug!("{}: {error}", self.file.place);
                    self.checked.failed(id, &error, self.in_step);
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

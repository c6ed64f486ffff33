//! A node replaced by an empty one, and the proof that the new one is whole. The new one may be at another
//! address or at that of the old one; a node that has moved with its folder is told to the server, and
//! proved, in the same way.
//!
//! ```text
//!   look at the new one ── one entry ──> compare ────> repair ──> proof ──> done
//!   nothing is changed     the address   (it lacks       ^          │
//!   if it is not empty                    everything)    │          │ a piece is not what it should be:
//!                                                        └──────────┘ lost, and rebuilt
//! ```
//!
//! The catalog says that the node is being replaced; all else follows from what it lacks, so a crash of
//! the server or of any node costs a repetition. The proof has the new node read every piece from its
//! disk and holds what it read against at least two other nodes, by the relations of the code. It
//! begins from the beginning after a restart, and again after a while if it fails.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::core::catalog::{Replacement, Surveyed};
use crate::core::cluster::Cluster;
use crate::core::cluster::check::{Checked, Walk, Walked};
use crate::core::cluster::pace::Throttle;
use crate::core::error::{Code, Error, NodeFailure, Result};
use crate::core::types::{NODE_COUNT, NodeId, READ_QUORUM};
use crate::core::wire::node::Place;

/// How long after a proof has failed the next one begins.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// How long it rests after a failure.
const PAUSE: Duration = Duration::from_secs(5);

/// How often it is looked whether there is something to prove.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Files that are named where many are meant.
const NAMED_MAX: usize = 100;

/// How a replacement began.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Begun {
    /// The new node has taken the old one's place.
    Started,
    /// It was in progress already, and goes on.
    Resumed,
    /// Nothing has changed: without the old node's pieces some files could not be read any more.
    WouldLose {
        /// How many files.
        count: u64,
        /// The first of them.
        first: Vec<Place>,
    },
}

/// How a replacement goes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Progress {
    /// What it is.
    pub replacement: Replacement,
    /// How many pieces are still missing on the new node, as far as is known.
    pub owed: u64,
    /// Is it known what is missing?
    pub is_compared: bool,
    /// How many pieces have been read and matched in the proof that is running.
    pub proved: u64,
    /// How many files the last proof could not vouch for; it is not done then.
    pub not_whole: u64,
    /// The first of them.
    pub first_not_whole: Vec<Place>,
}

/// The facade for replacing nodes and showing how it goes.
#[derive(Clone)]
pub struct Replacements {
    cluster: Cluster,
    shared: Arc<Mutex<[Shared; NODE_COUNT]>>,
}

/// What is known of the proof for one node.
#[derive(Clone, Default)]
struct Shared {
    proved: u64,
    not_whole: u64,
    first_not_whole: Vec<Place>,
    /// The next proof was asked for, so it does not wait.
    again: bool,
    /// The last replacement for which the node has been looked for at another address.
    moved: Option<(String, i64)>,
}

impl Replacements {
    /// Has the node at `address` take this node's place. It must be there, and be an empty one, this node
    /// itself, or what it is being replaced by already. `force` gives up files that need the old node's pieces.
    /// `now_ms` is the wall clock, in milliseconds since 1970. Returns at once; the rest happens in
    /// the background.
    ///
    /// # Errors
    /// If the node at the address does not answer, is another node, or is not empty. Nothing has
    /// changed then.
    pub fn replace(&self, node: NodeId, address: &str, force: bool, now_ms: i64) -> Result<Begun> {
        let current = self.in_progress(node)?.filter(|current| current.address == address);
        let serves = self.cluster.roster.node(node).who_serves_at(address).map_err(|error| {
            let text = format!("node {node} cannot be replaced by the one at {address}: {error}");
            // It is there and is none of ours: waiting or asking again changes nothing.
            let is_refused = matches!(error, Error::Node { why: NodeFailure::Refused(_), .. });
            Error::other(if is_refused { Code::NotAllowed } else { error.code() }, text)
        })?;
        if serves.node != node {
            let found = serves.node;
            return Err(not_allowed(format!(
                "the node at {address} is node {found}, not node {node}; start an empty one there \
                 with --id {node}"
            )));
        }
        if current.is_some()
            && serves.cluster.is_none_or(|own| own == self.cluster.catalog.cluster())
        {
            // What the last proof could not vouch for is looked at again.
            self.look_again(node);
            return Ok(Begun::Resumed);
        }
        match serves.cluster {
            // What it holds, be it nothing, it holds already.
            Some(cluster) if cluster == self.cluster.catalog.cluster() => {
                self.check_alone(node, address, &serves.folder)?;
            }
            Some(_) => {
                return Err(not_allowed(format!(
                    "the node at {address} keeps the files of another cluster in {}; start it with an \
                     empty folder",
                    serves.folder
                )));
            }
            None => {
                let (count, first) = self.cluster.catalog.unreadable_without(node, NAMED_MAX)?;
                if count > 0 && !force {
                    return Ok(Begun::WouldLose { count, first });
                }
            }
        }
        let to = address.to_owned();
        self.cluster.committer.submit(move |draft| draft.begin_replacement(node, &to, now_ms))?;
        tracing::warn!("data server {node} is replaced by the one at {address}");
        self.look_again(node);
        self.follow()?;
        self.cluster.notifier.notify();
        Ok(Begun::Started)
    }

    /// Refuses a second node with the number of one that is there.
    fn check_alone(&self, node: NodeId, address: &str, folder: &str) -> Result<()> {
        let addresses = self.cluster.catalog.node_addresses()?.unwrap_or_default();
        let used = &addresses[node.index()];
        if used != address && self.cluster.roster.up().contains(node) {
            return Err(not_allowed(format!(
                "node {node} of this cluster is up at {used}, and the one at {address} belongs to this \
                 cluster too ({folder}); stop the one that is not to be used, or start it with an empty \
                 folder"
            )));
        }
        Ok(())
    }

    /// Forgets the last proof, and begins the next one as soon as it can be.
    fn look_again(&self, node: NodeId) {
        let own = &mut self.shared.lock()[node.index()];
        *own = Shared { again: true, moved: own.moved.take(), ..Shared::default() };
    }

    /// Looks for nodes where the catalog says that they are now: a replacement may turn out to have
    /// begun after that was in doubt.
    fn follow(&self) -> Result<()> {
        for Replacement { node, address, instead_of, started_ms, .. } in
            self.cluster.catalog.replacements()?
        {
            let own = &mut self.shared.lock()[node.index()].moved;
            let found = Some((address, started_ms));
            if *own != found {
                *own = found;
                if let Some((address, _)) = own.as_ref().filter(|(to, _)| *to != instead_of) {
                    self.cluster.roster.move_node(node, address);
                }
            }
        }
        Ok(())
    }

    fn in_progress(&self, node: NodeId) -> Result<Option<Replacement>> {
        let all = self.cluster.catalog.replacements()?;
        Ok(all.into_iter().find(|own| own.node == node && own.proved_ms.is_none()))
    }

    /// The last replacement of each node, and how it goes.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn progress(&self) -> Result<Vec<Progress>> {
        let shared = self.shared.lock().clone();
        let all = self.cluster.catalog.replacements()?.into_iter();
        all.map(|replacement| {
            let node = replacement.node;
            let own = shared[node.index()].clone();
            Ok(Progress {
                owed: self.cluster.catalog.missing_count(node)?,
                is_compared: is_compared(&self.cluster, node),
                replacement,
                proved: own.proved,
                not_whole: own.not_whole,
                first_not_whole: own.first_not_whole,
            })
        })
        .collect()
    }
}

/// Does the catalog know what the node lacks?
fn is_compared(cluster: &Cluster, node: NodeId) -> bool {
    cluster.roster.seen(node).journal.is_some_and(|journal| journal.gap.is_none())
}

fn not_allowed(text: String) -> Error {
    Error::other(Code::NotAllowed, text)
}

/// The engine that proves replacements, a step at a time.
pub struct Replacer {
    cluster: Cluster,
    throttle: Throttle,
    /// The wall clock where `now` is zero, in milliseconds since 1970.
    start_ms: i64,
    replacements: Replacements,
    proof: Option<Proof>,
    looked_at: Option<Duration>,
    /// Until when a node's next proof waits.
    pauses: [Option<Duration>; NODE_COUNT],
}

/// One node's proof that is running.
struct Proof {
    node: NodeId,
    walk: Walk,
    proved: u64,
    not_whole: u64,
    first_not_whole: Vec<Place>,
}

impl Replacer {
    /// An engine that goes on with what is not proved. `start_ms` is the wall clock at the point from
    /// which all `now` count, in milliseconds since 1970. The nodes are looked for where the catalog
    /// says already.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn new(cluster: &Cluster, throttle: Throttle, start_ms: i64) -> Result<Replacer> {
        let mut shared: [Shared; NODE_COUNT] = Default::default();
        for Replacement { node, address, started_ms, .. } in cluster.catalog.replacements()? {
            shared[node.index()].moved = Some((address, started_ms));
        }
        let shared = Arc::new(Mutex::new(shared));
        Ok(Replacer {
            cluster: cluster.clone(),
            throttle,
            start_ms,
            replacements: Replacements { cluster: cluster.clone(), shared },
            proof: None,
            looked_at: None,
            pauses: [None; NODE_COUNT],
        })
    }

    /// The facade of this engine.
    pub fn replacements(&self) -> Replacements {
        self.replacements.clone()
    }

    /// Does a step; true if there is more to do now. `now` counts from a fixed point.
    pub fn round(&mut self, now: Duration) -> bool {
        if !self.cluster.roster.leadership().is_established() {
            return false;
        }
        let done = match self.proof.take() {
            Some(proof) => self.step(proof, now),
            None => self.look(now),
        };
        done.unwrap_or_else(|error| {
            tracing::warn!("a node that was replaced is proved later: {error}");
            self.looked_at = Some(now + PAUSE);
            false
        })
    }

    /// Is there a replacement to be proved?
    fn look(&mut self, now: Duration) -> Result<bool> {
        let again: Vec<bool> = {
            let mut shared = self.replacements.shared.lock();
            shared.iter_mut().map(|own| std::mem::take(&mut own.again)).collect()
        };
        for (pause, again) in self.pauses.iter_mut().zip(&again) {
            pause.take_if(|until| *again || now >= *until);
        }
        if !again.contains(&true) && self.looked_at.is_some_and(|at| now < at + LOOK_EVERY) {
            return Ok(false);
        }
        self.looked_at = Some(now);
        self.replacements.follow()?;
        for replacement in self.cluster.catalog.replacements()? {
            let node = replacement.node;
            let waits = replacement.proved_ms.is_some() || self.pauses[node.index()].is_some();
            if !waits && self.may_be_proved(node)? {
                let (walk, first_not_whole) = (Walk::new(None, false), Vec::new());
                let proof = Proof { node, walk, proved: 0, not_whole: 0, first_not_whole };
                self.proof = Some(proof);
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Nothing is to be rebuilt any more, and there are others to compare with.
    fn may_be_proved(&self, node: NodeId) -> Result<bool> {
        let up = self.cluster.roster.up();
        Ok(up.contains(node)
            && up.len() > READ_QUORUM
            && is_compared(&self.cluster, node)
            && self.cluster.catalog.missing_count(node)? == 0)
    }

    /// An error ends the proof; the next one begins from the beginning.
    fn step(&mut self, mut proof: Proof, now: Duration) -> Result<bool> {
        match proof.walk.step(&self.cluster, &mut self.throttle)? {
            Walked::On(_) | Walked::Gone(_) => {}
            Walked::Checked(_, file, checked) => self.conclude(&mut proof, &file, &checked)?,
            Walked::End => return self.end(proof, now).map(|()| false),
        }
        self.proof = Some(proof);
        Ok(true)
    }

    fn conclude(&self, proof: &mut Proof, file: &Surveyed, checked: &Checked) -> Result<()> {
        let (node, version) = (proof.node, file.record.version);
        let is_current = self.cluster.catalog.version(version)?.is_some();
        // What the node lacks is rebuilt, and the end of the proof sees that.
        if !is_current || !file.record.placed.contains(node) {
            return Ok(());
        }
        self.cluster.record_lost(version, checked.without())?;
        let is_whole = checked.sound.contains(node) && checked.sound.len() > READ_QUORUM;
        if is_whole && !checked.damaged {
            proof.proved += 1;
        } else {
            let (place, why) = (&file.place, why_not(checked, node));
            tracing::warn!("data server {node}: its piece of {place} is not proved: {why}");
            proof.not_whole += 1;
            if proof.first_not_whole.len() < NAMED_MAX {
                proof.first_not_whole.push(file.place.clone());
            }
        }
        self.replacements.shared.lock()[node.index()].proved = proof.proved;
        Ok(())
    }

    fn end(&mut self, proof: Proof, now: Duration) -> Result<()> {
        let node = proof.node;
        let wall_ms =
            self.start_ms.saturating_add(i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
        if proof.not_whole > 0 {
            tracing::warn!(
                "data server {node} is not replaced yet: {} files are not whole on it; they are \
                 rebuilt, and all is looked at again",
                proof.not_whole
            );
            self.pauses[node.index()] = Some(now + AGAIN_AFTER);
        } else if is_compared(&self.cluster, node) {
            let committer = &self.cluster.committer;
            if committer.submit(move |draft| draft.prove_replacement(node, wall_ms))? {
                tracing::info!(
                    "data server {node} is replaced: its {} pieces were read from its disk and matched",
                    proof.proved
                );
            }
        }
        let own = &mut self.replacements.shared.lock()[node.index()];
        (own.proved, own.not_whole) = (proof.proved, proof.not_whole);
        own.first_not_whole = proof.first_not_whole;
        Ok(())
    }
}

fn why_not(checked: &Checked, node: NodeId) -> &'static str {
    if checked.damaged {
        "no two nodes hold what was stored"
    } else if checked.missing.contains(node) {
        "it is not there"
    } else if checked.wrong.contains(node) {
        "its bytes are not those that were stored"
    } else if checked.unchecked.nodes().contains(node) {
        "the node did not answer"
    } else {
        "fewer than two other nodes have theirs to compare it with"
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::cluster::volume::fixture::{bytes, fixture, version};
    use crate::core::types::NodeSet;

    #[test]
    fn a_replaced_node_is_done_when_every_piece_of_it_was_matched() {
        let mut f = fixture();
        let contents = [1, 2, 3].map(|n| bytes(n * 300_000));
        (1..)
            .zip(&contents)
            .for_each(|(byte, content)| assert_eq!(f.store(byte, content).len(), 4));
        let node = NodeId::ALL[0];
        let mut replacer = Replacer::new(&f.cluster, f.throttle(), 0).unwrap();
        let replacements = replacer.replacements();
        let begun = replacements.replace(node, "new:1", false, 5).unwrap();
        assert_eq!(begun, Begun::Started);
        assert!(!f.cluster.roster.up().contains(node), "it is looked for elsewhere");
        f.node(1).empty();
        assert!(!replacer.round(f.now()), "it has not come up");
        f.look();
        f.look();
        f.pass(LOOK_EVERY);
        assert!(!replacer.round(f.now()), "it lacks everything");
        let progress = replacements.progress().unwrap().remove(0);
        assert!(progress.is_compared && progress.replacement.proved_ms.is_none());
        assert_eq!((progress.owed, progress.replacement.pieces), (3, 3));
        f.repair();
        // What was rebuilt wrongly is found by the proof.
        f.node(1).damaged.insert(version(2));
        f.pass(LOOK_EVERY);
        while replacer.round(f.now()) {}
        let progress = replacements.progress().unwrap().remove(0);
        assert_eq!((progress.not_whole, progress.replacement.proved_ms), (1, None));
        f.repair();
        assert_eq!(replacements.replace(node, "new:1", false, 6).unwrap(), Begun::Resumed);
        while replacer.round(f.now()) {}
        let progress = replacements.progress().unwrap().remove(0);
        assert!(progress.replacement.proved_ms.is_some());
        assert_eq!((progress.proved, progress.not_whole), (3, 0));
        assert!((1..).zip(&contents).all(|(byte, content)| f.holds(1, byte, content)));
    }

    #[test]
    fn a_node_is_replaced_in_its_place_and_one_that_moved_is_taken_with_what_it_holds() {
        let mut f = fixture();
        f.store(1, &bytes(300_000));
        let (node, own) = (NodeId::ALL[0], Some(f.cluster.catalog.cluster()));
        let mut replacer = Replacer::new(&f.cluster, f.throttle(), 0).unwrap();
        let replacements = replacer.replacements();
        let used = f.cluster.catalog.node_addresses().unwrap().unwrap()[0].clone();
        // Emptied and started again: it belongs to the cluster as soon as the server has met it.
        f.node(1).empty();
        f.node(1).serves = own;
        f.switch(NodeSet::from_bits(0b1110));
        f.switch(NodeSet::ALL);
        f.look();
        f.look();
        f.repair();
        assert_eq!(replacements.replace(node, &used, false, 5).unwrap(), Begun::Started);
        assert!(f.cluster.roster.up().contains(node), "it is where it was");
        f.pass(LOOK_EVERY);
        while replacer.round(f.now()) {}
        let proved = |at: i64| {
            let progress = replacements.progress().unwrap().remove(0);
            assert_eq!((progress.proved, progress.not_whole), (1, 0));
            progress.replacement.proved_ms.is_some() && progress.replacement.started_ms == at
        };
        assert!(proved(5));
        // With its folder at another address, while it is up here and when it is not.
        let refused = replacements.replace(node, "moved:1", false, 6).unwrap_err();
        assert_eq!(refused.code(), Code::NotAllowed);
        f.switch(NodeSet::from_bits(0b1110));
        assert_eq!(replacements.replace(node, "moved:1", false, 7).unwrap(), Begun::Started);
        f.switch(NodeSet::ALL);
        f.look();
        f.look();
        f.pass(LOOK_EVERY);
        while replacer.round(f.now()) {}
        assert!(proved(7));
    }

    #[test]
    fn a_node_whose_pieces_are_needed_is_replaced_only_by_force() {
        let f = fixture();
        f.store(1, &bytes(300_000));
        f.cluster.record_lost(version(1), NodeSet::from_bits(0b1100)).unwrap();
        let replacements = Replacer::new(&f.cluster, f.throttle(), 0).unwrap().replacements();
        let refused = replacements.replace(NodeId::ALL[0], "new:1", false, 5).unwrap();
        assert!(matches!(refused, Begun::WouldLose { count: 1, .. }), "{refused:?}");
        assert!(f.cluster.catalog.replacements().unwrap().is_empty());
    }
}

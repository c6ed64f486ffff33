//! A node replaced by an empty one at another address, and the proof that the new one is whole.
//!
//! ```text
//!   look at the new one ── one transaction ──> healing ──> proof ──> done
//!   nothing is changed     address, pieces     (heal.rs)     │
//!   if it is not empty     lost, all of it        ^          │ a piece is not what it should be:
//!                          owed                   └──────────┘ struck, and rebuilt
//! ```
//!
//! The row in the catalog says that the node is being replaced; all else follows from what is owed,
//! so a crash of the server or of any node costs a repetition. The proof has the new node read every
//! piece from its disk and holds what it read against at least two other nodes, by the relations of
//! the code. It begins from the beginning after a restart, and again after a while if it fails.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::core::catalog::{Catalog, Replacement, Surveyed};
use crate::core::cluster::attendant::Bell;
use crate::core::cluster::check::{Check, Checked};
use crate::core::cluster::pace::Manners;
use crate::core::cluster::roster::Roster;
use crate::core::error::{Code, Error, NodeFailure, Result};
use crate::core::types::{NodeId, READ_QUORUM};
use crate::core::wire::node::Place;

/// Files that are taken from the catalog at a time.
const FILES_PAGE: usize = 64;

/// How long after a proof has failed the next one begins.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// How often it is looked whether there is something to prove.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Files that are named where many are meant.
const NAMED_MAX: usize = 100;

/// How a replacement began.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Begun {
    /// The new node has taken the old one's place, and so many pieces are owed to it.
    Started {
        /// How many.
        pieces: u64,
    },
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
    /// How many pieces are still owed to the new node.
    pub owed: u64,
    /// How many pieces have been read and matched in the proof that is running.
    pub proved: u64,
    /// How many files the last proof could not vouch for; it is not done then.
    pub not_whole: u64,
    /// The first of them.
    pub first_not_whole: Vec<Place>,
}

/// The facade for whoever replaces nodes and shows how it goes.
#[derive(Clone)]
pub struct Replacements {
    catalog: Arc<Catalog>,
    roster: Arc<Roster>,
    bell: Bell,
    shared: Arc<Mutex<[Shared; 4]>>,
}

/// What is known of the proof for one node.
#[derive(Clone, Default)]
struct Shared {
    proved: u64,
    not_whole: u64,
    first_not_whole: Vec<Place>,
    /// Somebody has asked for it: no waiting for the next proof.
    again: bool,
}

impl Replacements {
    /// Has the node at `address` take this node's place. It must be there, and either empty or what
    /// it is being replaced by already. `force` gives up files that need the old node's pieces.
    /// `now_ms` is the wall clock, in milliseconds since 1970. Returns at once; the rest happens in
    /// the background.
    ///
    /// # Errors
    /// If the node at the address does not answer, is another node, or is not empty. Nothing has
    /// changed then.
    pub fn replace(&self, node: NodeId, address: &str, force: bool, now_ms: i64) -> Result<Begun> {
        let current = self.in_progress(node)?.filter(|current| current.address == address);
        let serves = self.roster.node(node).who_serves_at(address).map_err(|error| {
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
        if current.is_some() && serves.cluster.is_none_or(|own| own == self.catalog.cluster()) {
            // What the last proof could not vouch for is looked at again.
            self.shared.lock()[node.index()] = Shared { again: true, ..Shared::default() };
            self.bell.ring();
            return Ok(Begun::Resumed);
        }
        if let Some(cluster) = serves.cluster {
            return Err(not_allowed(if cluster == self.catalog.cluster() {
                format!(
                    "the node at {address} belongs to this cluster already ({}); a node is \
                     replaced by an empty one: start it with an empty folder",
                    serves.folder
                )
            } else {
                format!(
                    "the node at {address} keeps the files of another cluster in {}; start it \
                     with an empty folder",
                    serves.folder
                )
            }));
        }
        let (count, first) = self.catalog.unreadable_without(node, NAMED_MAX)?;
        if count > 0 && !force {
            return Ok(Begun::WouldLose { count, first });
        }
        let pieces = self.catalog.begin_replacement(node, address, now_ms)?;
        tracing::warn!(
            "data server {node} is replaced by the one at {address}; {pieces} pieces are rebuilt"
        );
        self.shared.lock()[node.index()] = Shared::default();
        self.roster.move_node(node, address);
        self.bell.ring();
        Ok(Begun::Started { pieces })
    }

    fn in_progress(&self, node: NodeId) -> Result<Option<Replacement>> {
        let all = self.catalog.replacements()?;
        Ok(all.into_iter().find(|own| own.node == node && own.proved_ms.is_none()))
    }

    /// The last replacement of each node, and how it goes.
    ///
    /// # Errors
    /// If the catalog cannot be read.
    pub fn progress(&self) -> Result<Vec<Progress>> {
        let shared = self.shared.lock().clone();
        let all = self.catalog.replacements()?.into_iter();
        all.map(|replacement| {
            let own = shared[replacement.node.index()].clone();
            Ok(Progress {
                owed: self.catalog.repairs_owed(replacement.node)?,
                replacement,
                proved: own.proved,
                not_whole: own.not_whole,
                first_not_whole: own.first_not_whole,
            })
        })
        .collect()
    }
}

fn not_allowed(text: String) -> Error {
    Error::other(Code::NotAllowed, text)
}

/// The engine that proves replacements, a step at a time.
pub struct Replacer {
    catalog: Arc<Catalog>,
    roster: Arc<Roster>,
    bell: Bell,
    manners: Manners,
    /// The wall clock where `now` is zero, in milliseconds since 1970.
    start_ms: i64,
    shared: Arc<Mutex<[Shared; 4]>>,
    proof: Option<Proof>,
    looked_at: Option<Duration>,
    /// Until when a node's next proof waits.
    pauses: [Option<Duration>; 4],
}

/// One node's proof that is running.
struct Proof {
    node: NodeId,
    cursor: Option<(crate::core::catalog::UserId, String)>,
    page: VecDeque<Surveyed>,
    check: Option<Check>,
    result: Shared,
}

impl Replacer {
    /// An engine that goes on with what is not proved. `start_ms` is the wall clock at the point from
    /// which all `now` count, in milliseconds since 1970.
    pub fn new(
        catalog: Arc<Catalog>,
        roster: Arc<Roster>,
        bell: Bell,
        manners: Manners,
        start_ms: i64,
    ) -> Replacer {
        let (shared, pauses) = (Arc::default(), [None; 4]);
        let (proof, looked_at) = (None, None);
        Replacer { catalog, roster, bell, manners, start_ms, shared, proof, looked_at, pauses }
    }

    /// The facade of this engine.
    pub fn replacements(&self) -> Replacements {
        Replacements {
            catalog: self.catalog.clone(),
            roster: self.roster.clone(),
            bell: self.bell.clone(),
            shared: self.shared.clone(),
        }
    }

    /// Does a step; true if there is more to do now. `now` counts from a fixed point.
    pub fn round(&mut self, now: Duration) -> bool {
        let ended = match self.proof.take() {
            Some(proof) => self.step(proof, now),
            None => self.look(now),
        };
        ended.unwrap_or_else(|error| {
            tracing::warn!("replacing a node: {error}");
            false
        })
    }

    /// Is there a replacement to be proved?
    fn look(&mut self, now: Duration) -> Result<bool> {
        let again: Vec<bool> = {
            let mut shared = self.shared.lock();
            shared.iter_mut().map(|own| std::mem::take(&mut own.again)).collect()
        };
        for (pause, again) in self.pauses.iter_mut().zip(&again) {
            pause.take_if(|until| *again || now >= *until);
        }
        if !again.contains(&true) && self.looked_at.is_some_and(|at| now < at + LOOK_EVERY) {
            return Ok(false);
        }
        self.looked_at = Some(now);
        for replacement in self.catalog.replacements()? {
            let node = replacement.node;
            let waits = replacement.proved_ms.is_some() || self.pauses[node.index()].is_some();
            if !waits && self.may_be_proved(node)? {
                let (cursor, page, check) = (None, VecDeque::new(), None);
                self.proof = Some(Proof { node, cursor, page, check, result: Shared::default() });
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Nothing is to be rebuilt any more, and there are others to compare with.
    fn may_be_proved(&self, node: NodeId) -> Result<bool> {
        let up = self.roster.up();
        Ok(up.contains(node) && up.len() > READ_QUORUM && self.catalog.repairs_owed(node)? == 0)
    }

    fn step(&mut self, mut proof: Proof, now: Duration) -> Result<bool> {
        if let Some(check) = &mut proof.check {
            self.manners.begin();
            let (bytes, checked) = check.step(&self.roster);
            if let Some(checked) = checked
                && let Some(check) = proof.check.take()
            {
                self.conclude(&mut proof, check.file, checked)?;
            }
            self.manners.moved(bytes);
        } else if let Some(file) = proof.page.pop_front() {
            proof.check = self.begin_check(proof.node, file)?;
        } else {
            proof.page = self.catalog.files_after(proof.cursor.as_ref(), FILES_PAGE)?.into();
            let Some(last) = proof.page.back() else {
                return self.end(proof, now).map(|()| false);
            };
            proof.cursor = Some((last.user, last.place.path.as_str().to_owned()));
        }
        self.proof = Some(proof);
        Ok(true)
    }

    /// The current version of a file, if the node should have it; what it does not have is owed to
    /// it, and the end of the proof sees that.
    fn begin_check(&self, node: NodeId, file: Surveyed) -> Result<Option<Check>> {
        let Some(record) = self.catalog.version(file.record.version)? else {
            return Ok(None);
        };
        let file = Surveyed { record, ..file };
        let placed = file.record.placed;
        if !placed.contains(node) {
            return Ok(None);
        }
        let place = self.catalog.whereabouts(file.record.version, &file.place)?.place;
        Ok(Some(Check::begin(&self.roster, file, place, placed, false)))
    }

    fn conclude(&self, proof: &mut Proof, file: Surveyed, checked: Checked) -> Result<()> {
        let version = file.record.version;
        for node in checked.missing.or(checked.wrong).iter() {
            let (is_missing, asked) = (checked.missing.contains(node), file.record.seq);
            if is_missing && self.catalog.may_be_elsewhere(node, version, asked)? {
                continue;
            }
            self.catalog.piece_lost(node, version, None)?;
        }
        let is_whole = checked.sound.contains(proof.node) && checked.sound.len() > READ_QUORUM;
        if is_whole && !checked.damaged {
            proof.result.proved += 1;
        } else if self.catalog.version(version)?.is_some() {
            tracing::warn!(
                "data server {}: its piece of {} is not proved: {}",
                proof.node,
                file.place,
                why_not(&checked, proof.node)
            );
            proof.result.not_whole += 1;
            if proof.result.first_not_whole.len() < NAMED_MAX {
                proof.result.first_not_whole.push(file.place);
            }
        }
        let mut shared = self.shared.lock();
        shared[proof.node.index()].proved = proof.result.proved;
        Ok(())
    }

    fn end(&mut self, proof: Proof, now: Duration) -> Result<()> {
        let (node, result) = (proof.node, proof.result);
        let wall_ms =
            self.start_ms.saturating_add(i64::try_from(now.as_millis()).unwrap_or(i64::MAX));
        if result.not_whole > 0 {
            tracing::warn!(
                "data server {node} is not replaced yet: {} files are not whole on it; they are \
                 mended, and looked at again",
                result.not_whole
            );
            self.pauses[node.index()] = Some(now + AGAIN_AFTER);
            self.bell.ring();
        } else if self.catalog.end_replacement(node, wall_ms)? {
            tracing::info!(
                "data server {node} is replaced: its {} pieces were read from its disk and matched",
                result.proved
            );
        }
        let mut shared = self.shared.lock();
        let again = shared[node.index()].again;
        shared[node.index()] = Shared { again, ..result };
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
    } else if checked.unchecked.contains(node) {
        "the node did not answer"
    } else {
        "fewer than two other nodes have theirs to compare it with"
    }
}

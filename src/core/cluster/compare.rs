//! What a node holds, compared with what the catalog places on it.
//!
//! ```text
//!   ids that the node holds, ascending      ──┬─> placed there, not held: asked once more, then the
//!   ids in the catalog, ascending           ──┘   journal says that the node lost them
//!                                             └─> held, not in the catalog: left by a store that
//!                                                 failed; removed once they have been known for a
//!                                                 grace time
//! ```
//!
//! A piece is listed, too, if only one of its two blocks is there. So a node that may lack something is
//! asked once more about all that is placed on it.
//!
//! Only what was placed by an entry that the node's journal had when the comparison began is expected:
//! later pieces may still be on their way. When all has been compared, what the node may have lacked
//! without the catalog knowing it (its gap, see [`JournalState::gap`](crate::core::wire::journal)) is
//! known, and the gap is closed.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::core::catalog::{Held, What};
use crate::core::cluster::Cluster;
use crate::core::error::{Error, NodeFailure, Result};
use crate::core::types::{NODE_COUNT, NodeId, NodeSet, VersionId};
use crate::core::wire::journal::VERSIONS_MAX;
use crate::core::wire::node::VERSION_IDS_MAX;

/// How long a piece that the catalog does not know is left alone: longer than any store could still
/// need it.
pub const GRACE: Duration = Duration::from_secs(600);

/// Pieces of one node that are remembered as unknown to the catalog; more wait for the next comparison.
const STRAYS_MAX: usize = 100_000;

/// When pieces that the catalog does not know were first seen, for each node. In memory: after a
/// restart their grace time begins anew.
#[derive(Default)]
pub(super) struct Strays {
    seen: [Mutex<HashMap<VersionId, Seen>>; NODE_COUNT],
}

#[derive(Clone, Copy)]
struct Seen {
    /// By the roster's clock.
    first: Duration,
    /// The comparison that last saw it.
    last: Duration,
}

impl Strays {
    /// Notes that they are there. Gives those that have been known for the grace time.
    fn note(&self, id: NodeId, ids: &[VersionId], began: Due) -> Vec<VersionId> {
        let mut seen = self.seen[id.index()].lock();
        let mut due = Vec::new();
        for version in ids {
            if seen.len() >= STRAYS_MAX && !seen.contains_key(version) {
                continue;
            }
            let own = seen.entry(*version).or_insert(Seen { first: began.now, last: began.now });
            own.last = began.now;
            if began.now.saturating_sub(own.first) >= began.grace {
                due.push(*version);
            }
        }
        due
    }

    fn forget(&self, id: NodeId, ids: &[VersionId]) {
        let mut seen = self.seen[id.index()].lock();
        ids.iter().for_each(|version| {
            seen.remove(version);
        });
    }

    /// A comparison that began at this time has seen all there is.
    fn forget_unseen(&self, id: NodeId, began: Due) {
        self.seen[id.index()].lock().retain(|_, seen| seen.last >= began.now);
    }

    /// How many are known on this node.
    #[cfg(test)]
    fn count(&self, id: NodeId) -> usize {
        self.seen[id.index()].lock().len()
    }

    /// How many are known on all nodes.
    pub(super) fn count_all(&self) -> u64 {
        self.seen.iter().map(|seen| seen.lock().len() as u64).sum()
    }
}

/// When a comparison began, by the roster's clock, and how long strays are left alone.
#[derive(Clone, Copy)]
struct Due {
    now: Duration,
    grace: Duration,
}

/// What a comparison has come to.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub(super) struct Compared {
    /// Pieces that the node should hold.
    pub(super) placed: u64,
    /// Those of them that it does not hold.
    pub(super) lost: u64,
    /// Pieces of no version that the catalog knows, which are gone now.
    pub(super) removed: u64,
    /// The gap that was closed.
    pub(super) closed: Option<u64>,
}

/// A comparison of one node, a page at a time.
pub(super) struct Comparison {
    id: NodeId,
    due: Due,
    /// The node's journal at the beginning: its last entry, and its gap.
    end: u64,
    gap: Option<u64>,
    /// Tells another node, or another start of it, from the one that it began with.
    life: (u64, u64),
    /// All ids up to this one have been compared.
    after: Option<VersionId>,
    /// Ids that the node holds, above `after`.
    listed: Vec<VersionId>,
    list_ended: bool,
    compared: Compared,
}

impl Comparison {
    /// Begins to compare a node that is in step. `None` if it is not: wait until it is.
    pub(super) fn begin(
        cluster: &Cluster,
        id: NodeId,
        grace: Duration,
    ) -> Result<Option<Comparison>> {
        let life = life(cluster, id);
        if !cluster.replication.in_step().contains(id) {
            return Ok(None);
        }
        let alive = cluster.roster.node(id).ping(cluster.replication.decided());
        let alive = cluster.roster.used(id, alive)?;
        cluster.roster.note_alive(id, &alive);
        Ok(Some(Comparison {
            id,
            due: Due { now: cluster.roster.now(), grace },
            end: alive.journal.end.id,
            gap: alive.journal.gap,
            life,
            after: None,
            listed: Vec::new(),
            list_ended: false,
            compared: Compared::default(),
        }))
    }

    /// Compares the next page; gives the result at the end. What the node lacks is also a finding of
    /// this scrub, if it is done for one.
    ///
    /// # Errors
    /// If the node or the catalog cannot be asked, or is another one than at the beginning: the
    /// comparison is over.
    pub(super) fn step(
        &mut self,
        cluster: &Cluster,
        scrub: Option<i64>,
    ) -> Result<Option<Compared>> {
        let (roster, node) = (&cluster.roster, cluster.roster.node(self.id));
        if self.listed.is_empty() && !self.list_ended {
            self.listed = roster.used(self.id, node.pieces(self.after))?;
            self.list_ended = self.listed.is_empty();
        }
        if life(cluster, self.id) != self.life {
            let why = NodeFailure::Refused("it was restarted while it was compared".into());
            return Err(Error::node(self.id, why));
        }
        let mut rows = cluster.catalog.versions_after(self.after, VERSION_IDS_MAX)?;
        let rows_ended = rows.len() < VERSION_IDS_MAX;
        // Up to where both lists are known.
        let of_list = self.listed.last().copied().filter(|_| !self.list_ended);
        let of_rows = rows.last().map(|row| row.version).filter(|_| !rows_ended);
        let upto = [of_list, of_rows].into_iter().flatten().min();
        let rest = match upto {
            Some(upto) => {
                rows.truncate(rows.partition_point(|row| row.version <= upto));
                self.listed.split_off(self.listed.partition_point(|id| *id <= upto))
            }
            None => Vec::new(),
        };
        let listed = std::mem::replace(&mut self.listed, rest);
        let page = compare(&listed, &rows, self.id, self.end);
        self.compared.placed += page.placed.len() as u64;
        let doubtful = if self.gap.is_some() { &page.placed } else { &page.not_held };
        self.lost(cluster, doubtful, scrub)?;
        self.strays(cluster, &page.unknown)?;
        if upto.is_some() {
            self.after = upto;
            return Ok(None);
        }
        cluster.volume.strays().forget_unseen(self.id, self.due);
        self.close_gap(cluster)?;
        Ok(Some(self.compared))
    }

    /// Has the journal say that the node lacks these, unless it holds them after all.
    fn lost(&mut self, cluster: &Cluster, ids: &[VersionId], scrub: Option<i64>) -> Result<()> {
        if ids.is_empty() {
            return Ok(());
        }
        let node = cluster.roster.node(self.id);
        let lacked = cluster.roster.used(self.id, node.lacks(ids))?;
        let id = self.id;
        for versions in lacked.chunks(VERSIONS_MAX) {
            self.compared.lost += versions.len() as u64;
            // A node that says that it may lack pieces has a reason other than its disk.
            let counted = self.gap.is_none();
            if let Some(scrub) = scrub {
                // First, since a comparison that fails is done again: by then they are not expected.
                cluster.catalog.scrub_found(scrub, What::Missing, id, versions)?;
            }
            let versions = versions.to_vec();
            cluster.committer.submit(move |draft| draft.pieces_lost(id, &versions, counted))?;
            cluster.notifier.notify();
        }
        Ok(())
    }

    /// Has the node remove pieces that have been unknown for long enough.
    fn strays(&mut self, cluster: &Cluster, ids: &[VersionId]) -> Result<()> {
        let due = cluster.volume.strays().note(self.id, ids, self.due);
        let abandoned = abandoned(cluster, &due)?;
        if abandoned.is_empty() {
            return Ok(());
        }
        cluster.roster.used(self.id, cluster.roster.node(self.id).discard(&abandoned))?;
        cluster.volume.strays().forget(self.id, &abandoned);
        self.compared.removed += abandoned.len() as u64;
        tracing::info!("data server {}: {} abandoned pieces removed", self.id, abandoned.len());
        Ok(())
    }

    /// All that the node lacks is known now.
    fn close_gap(&mut self, cluster: &Cluster) -> Result<()> {
        let Some(gap) = self.gap else { return Ok(()) };
        let node = cluster.roster.node(self.id);
        let probe = || -> Result<Option<u64>> {
            let alive = node.ping(cluster.replication.decided());
            let alive = cluster.roster.used(self.id, alive)?;
            cluster.roster.note_alive(self.id, &alive);
            Ok(alive.journal.gap)
        };
        if probe()? == Some(gap) && life(cluster, self.id) == self.life {
            cluster.roster.used(self.id, node.close_gap(gap))?;
            probe()?;
            self.compared.closed = Some(gap);
        }
        Ok(())
    }
}

/// How often a node has come up, and how often it has moved.
fn life(cluster: &Cluster, id: NodeId) -> (u64, u64) {
    (cluster.roster.times_up(id), cluster.roster.moves()[id.index()])
}

/// Those of these pieces that no version will ever need. The order of the questions matters: a store
/// that is not running any more has either failed, or is in doubt, or is in the catalog.
fn abandoned(cluster: &Cluster, ids: &[VersionId]) -> Result<Vec<VersionId>> {
    let ended: Vec<VersionId> =
        ids.iter().copied().filter(|id| !cluster.volume.is_running(*id)).collect();
    if ended.is_empty() || cluster.committer.is_in_doubt() {
        return Ok(Vec::new());
    }
    let known = cluster.catalog.known(&ended)?;
    Ok(ended.into_iter().filter(|id| !known.contains(id)).collect())
}

/// What a part of both lists says.
#[derive(PartialEq, Eq, Default, Debug)]
struct Page {
    /// The pieces that the node should hold.
    placed: Vec<VersionId>,
    /// Those that it does not list.
    not_held: Vec<VersionId>,
    /// Those that it lists and the catalog does not know.
    unknown: Vec<VersionId>,
}

/// Merges both lists, which are ascending.
fn compare(listed: &[VersionId], rows: &[Held], id: NodeId, end: u64) -> Page {
    let mut page = Page::default();
    let mut listed = listed.iter().copied().peekable();
    for row in rows {
        while let Some(unknown) = listed.next_if(|listed| *listed < row.version) {
            page.unknown.push(unknown);
        }
        let is_listed = listed.next_if_eq(&row.version).is_some();
        if row.placed.contains(id) && row.placed_at <= end {
            page.placed.push(row.version);
            if !is_listed {
                page.not_held.push(row.version);
            }
        }
    }
    page.unknown.extend(listed);
    page
}

impl Cluster {
    /// Has the journal say that these nodes do not hold their piece of a version, or hold it damaged. It is
    /// rebuilt then.
    ///
    /// # Errors
    /// As [`Committer::submit`](crate::core::cluster::committer::Committer::submit).
    pub fn record_lost(&self, version: VersionId, nodes: NodeSet) -> Result<()> {
        if nodes.is_empty() {
            return Ok(());
        }
        self.committer.submit(move |draft| {
            nodes.iter().try_for_each(|id| draft.pieces_lost(id, &[version], true).map(drop))
        })?;
        self.notifier.notify();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::cluster::volume::fixture::{Fixture, bytes, fixture, push_all, version};
    use crate::core::types::Digest;

    fn ids(bytes: &[u8]) -> Vec<VersionId> {
        bytes.iter().map(|byte| VersionId([*byte; 16])).collect()
    }

    fn row(byte: u8, placed: u8, placed_at: u64) -> Held {
        let (version, placed) = (VersionId([byte; 16]), NodeSet::from_bits(placed));
        Held { version, placed, placed_at, bytes: 1 }
    }

    #[test]
    fn what_is_placed_and_not_listed_is_lacked_and_what_is_unknown_is_a_stray() {
        let rows = [row(2, 0b1111, 5), row(3, 0b1111, 5), row(5, 0b1110, 5), row(6, 0b1111, 5)];
        let page = compare(&ids(&[1, 2, 4, 5, 7]), &rows, NodeId::ALL[0], 5);
        let expected =
            Page { placed: ids(&[2, 3, 6]), not_held: ids(&[3, 6]), unknown: ids(&[1, 4, 7]) };
        assert_eq!(page, expected);
    }

    #[test]
    fn what_was_placed_after_the_comparison_began_is_not_expected() {
        let rows = [row(2, 0b1111, 6), row(3, 0b1111, 5)];
        let page = compare(&[], &rows, NodeId::ALL[0], 5);
        assert_eq!(page, Page { placed: ids(&[3]), not_held: ids(&[3]), unknown: Vec::new() });
    }

    #[test]
    fn a_stray_is_due_once_it_has_been_known_for_the_grace_time() {
        let strays = Strays::default();
        let (id, other) = (NodeId::ALL[0], NodeId::ALL[1]);
        let at = |seconds| Due { now: Duration::from_secs(seconds), grace: GRACE };
        assert_eq!(strays.note(id, &ids(&[1, 2]), at(0)), []);
        assert_eq!(strays.note(id, &ids(&[2, 3]), at(599)), []);
        strays.forget_unseen(id, at(599));
        assert_eq!(strays.count(id), 2, "1 is not there any more");
        assert_eq!(strays.note(id, &ids(&[1, 2, 3]), at(600)), ids(&[2]));
        assert_eq!(strays.note(other, &ids(&[2]), at(600)), [], "on another node");
        let at_once = Due { now: Duration::from_secs(600), grace: Duration::ZERO };
        assert_eq!(strays.note(other, &ids(&[9]), at_once), ids(&[9]));
        strays.forget(id, &ids(&[2]));
        assert_eq!(strays.count(id), 2);
    }

    #[test]
    fn an_emptied_node_is_found_out_and_its_gap_is_closed() {
        let mut f = fixture();
        for byte in 1..=9 {
            f.store(byte, &bytes(usize::from(byte) * 100_000));
        }
        f.node(3).empty();
        f.switch(NodeSet::from_bits(0b1011));
        f.switch(NodeSet::ALL);
        f.look();
        for byte in 1..=9 {
            // The first two are small: it got their pieces again with the entries.
            let expected = if byte <= 2 { 0b1111 } else { 0b1011 };
            assert_eq!(f.placed(byte), NodeSet::from_bits(expected), "{byte}");
        }
        assert_eq!(f.node(3).gap, None);
        assert!(!f.cluster.roster.seen(NodeId::ALL[2]).has_gap());
        assert_eq!(f.cluster.catalog.errors().unwrap(), [0; 4], "no error of its disk");
    }

    #[test]
    fn a_piece_of_which_one_block_is_gone_is_found_before_a_gap_is_closed() {
        let mut f = fixture();
        (1..=5).for_each(|byte| assert!(!f.store(byte, &bytes(300_000)).is_empty()));
        f.node(2).halved.insert(version(4));
        f.node(2).gap = Some(7);
        f.look();
        for byte in 1..=5 {
            let expected = if byte == 4 { 0b1101 } else { 0b1111 };
            assert_eq!(f.placed(byte), NodeSet::from_bits(expected), "{byte}");
        }
        assert_eq!(f.node(2).gap, None);
    }

    #[test]
    fn a_piece_that_is_gone_is_found_by_the_next_comparison_and_counted() {
        let mut f = fixture();
        (1..=9).for_each(|byte| assert!(!f.store(byte, &bytes(300_000)).is_empty()));
        f.node(2).pieces.remove(&version(4));
        f.pass(Duration::from_secs(3601));
        f.look();
        for byte in 1..=9 {
            let expected = if byte == 4 { 0b1101 } else { 0b1111 };
            assert_eq!(f.placed(byte), NodeSet::from_bits(expected), "{byte}");
        }
        assert_eq!(f.cluster.catalog.errors().unwrap(), [0, 1, 0, 0]);
    }

    #[test]
    fn an_abandoned_piece_is_removed_after_its_grace_time_and_no_other() {
        let mut f = fixture();
        f.store(1, &bytes(300_000));
        let content = bytes(300_000);
        let mut writing = f.begin(2, &content).unwrap();
        push_all(&mut writing, &content);
        writing.finish(Digest([0; 32])).unwrap();
        let held = |f: &Fixture| f.node(1).pieces.contains_key(&version(2));
        let hour = Duration::from_secs(3601);
        f.pass(hour);
        f.look();
        f.pass(hour);
        f.look();
        assert!(held(&f), "it is still being stored");
        drop(writing);
        f.pass(hour);
        f.look();
        assert!(!held(&f) && f.node(1).pieces.contains_key(&version(1)));
        assert_eq!(f.cluster.volume.strays().count_all(), 0);
    }
}

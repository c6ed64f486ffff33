//! How a server that has just started comes to lead: it takes up the best journal of the nodes that have
//! registered it, then makes an entry of its own epoch.
//!
//! ```text
//!   two journals heard   ──> the catalog follows the best of them and its own ──> reads are served
//!   three nodes registered ─> the same once more ──> `Led` on three nodes     ──> changes are made
//! ```
//!
//! Whatever was answered is on three nodes, so on one of any two; and of two different histories the one
//! of the higher epoch has all that was decided before that epoch began (Raft, section 5.4). The catalog
//! counts as one more journal. One that does not lie on the way to the best journal (it was put back
//! from an older copy than the journals reach, or holds entries that were never decided) is filled anew
//! from a node's snapshot.
//!
//! A server whose folder was put back to an older copy may not know the highest epoch that it had, if it
//! could not ask the nodes when it started. These refuse it then, and it begins once more with a higher
//! one (`fence.rs` says when).

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::core::catalog::{Catalog, Draft};
use crate::core::cluster::committer::Committer;
use crate::core::cluster::leadership::LeadershipPhase;
use crate::core::cluster::replication::Replication;
use crate::core::cluster::roster::Roster;
use crate::core::cluster::{recover, settle};
use crate::core::error::{Code, Error, Result};
use crate::core::fence::{self, LOOK_AGAIN_AFTER, Look, Refused};
use crate::core::types::{Claim, NodeId, NodeSet, READ_QUORUM, VersionId, WRITE_QUORUM};
use crate::core::wire::journal::{Change, Point};
use crate::core::wire::node::{Serves, VERSION_IDS_MAX};

/// Takes up the nodes' journals.
pub struct TakeUp {
    catalog: Arc<Catalog>,
    roster: Arc<Roster>,
    replication: Arc<Replication>,
    committer: Arc<Committer>,
    /// When it was first looked who has refused this server, if that has to be looked at again.
    looked: Mutex<Option<Duration>>,
    /// What kept it from leading the last time, so that it is told once.
    complained: Mutex<String>,
}

impl TakeUp {
    pub(super) fn new(
        catalog: Arc<Catalog>,
        roster: Arc<Roster>,
        replication: Arc<Replication>,
        committer: Arc<Committer>,
    ) -> TakeUp {
        let (looked, complained) = (Mutex::default(), Mutex::default());
        TakeUp { catalog, roster, replication, committer, looked, complained }
    }

    /// One look; true once this server leads, or has been taken over.
    pub fn round(&self) -> bool {
        let leadership = self.roster.leadership();
        if leadership.is_taken_over() || leadership.phase() == LeadershipPhase::Leading {
            return true;
        }
        let advanced = match leadership.refusal() {
            Some((node, epoch)) => self.refused(node, epoch).map(|()| false),
            None => self.advance(),
        };
        match advanced {
            Ok(is_leading) => is_leading,
            Err(error) => {
                let text = error.to_string();
                let mut complained = self.complained.lock();
                if *complained != text {
                    tracing::warn!("cannot take up the nodes' journals yet: {text}");
                    *complained = text;
                }
                false
            }
        }
    }

    /// Looks by whom this server was refused before it led, and what follows from that.
    fn refused(&self, node: NodeId, epoch: u64) -> Result<()> {
        let leadership = self.roster.leadership();
        let Some(own) = leadership.claim() else {
            leadership.taken_over(node, epoch);
            return Ok(());
        };
        let mut looked = self.looked.lock();
        let (now, look) = (self.roster.now(), looked.map_or(Look::First, |_| Look::Again));
        if looked.is_some_and(|at| now < at + LOOK_AGAIN_AFTER) {
            return Ok(());
        }
        let answers: Vec<Serves> = NodeId::ALL
            .into_iter()
            .filter_map(|id| self.roster.node(id).who_serves().ok())
            .collect();
        match fence::refused(own, self.catalog.cluster(), &answers, look) {
            Refused::LookAgain => {
                *looked = Some(now);
                return Ok(());
            }
            Refused::GoOn => leadership.go_on(),
            Refused::TakenOver(epoch) => leadership.taken_over(node, epoch),
            Refused::GoHigher(epoch) => self.go_higher(Claim { epoch, ..own })?,
        }
        *looked = None;
        Ok(())
    }

    /// Begins once more, with a higher epoch.
    fn go_higher(&self, claim: Claim) -> Result<()> {
        // Its own first entry may be in doubt. Whether it was made is found in the nodes' journals.
        self.committer.settle();
        self.catalog.remember_claim(claim)?;
        tracing::warn!(
            "the nodes know a later run with this user database, which has ended: it was put back to an \
             older copy since. The server goes on with epoch {}",
            claim.epoch
        );
        self.replication.restart()?;
        self.roster.register_as(claim);
        Ok(())
    }

    fn advance(&self) -> Result<bool> {
        let leadership = self.roster.leadership();
        if self.committer.is_in_doubt() {
            // Its own first entry: nodes have it that the catalog does not have yet.
            self.committer.settle();
            if self.committer.is_in_doubt() {
                return Ok(false);
            }
        }
        let registered = leadership.who_registered().and(self.roster.up());
        let journals: Vec<(NodeId, Point)> = registered
            .iter()
            .filter_map(|id| Some((id, self.roster.node(id).greeted()?.end)))
            .collect();
        if journals.len() < READ_QUORUM {
            return Ok(false);
        }
        let own = self.catalog.end()?;
        // A journal that is empty was lost, and says nothing. In a new cluster all of them are.
        let histories = journals.iter().filter(|(_, end)| end.id > 0).count();
        let is_new = own.id == 0 && histories == 0;
        if !is_new && histories + usize::from(own.id > 0) < READ_QUORUM {
            return Ok(false);
        }
        let is_leading = journals.len() >= WRITE_QUORUM;
        if is_leading || leadership.phase() == LeadershipPhase::Starting {
            self.follow_best(&journals, own)?;
            leadership.advance(LeadershipPhase::Reading);
        }
        if !is_leading {
            return Ok(false);
        }
        let Some(Claim { server, .. }) = leadership.claim() else { return Ok(false) };
        let uncertain = self.uncertain(registered)?;
        let lead = move |draft: &mut Draft<'_>| {
            draft.lead(server)?;
            draft.mark_uncertain(&uncertain)
        };
        match self.committer.submit_first(lead) {
            Ok(_) => {}
            // On some nodes: decided as soon as there are three.
            Err(Error::InDoubt { .. }) => return Ok(false),
            Err(Error::EarlierInDoubt(_)) => {
                self.committer.settle();
                if self.committer.is_in_doubt() {
                    return Ok(false);
                }
            }
            Err(error) => return Err(error),
        }
        leadership.advance(LeadershipPhase::Leading);
        tracing::info!("the nodes' journals are taken up; this server leads the cluster");
        Ok(true)
    }

    /// Brings the catalog to where the best journal is.
    fn follow_best(&self, journals: &[(NodeId, Point)], own: Point) -> Result<()> {
        let Some((id, best)) = journals.iter().max_by_key(|(_, end)| end.rank()) else {
            return Ok(());
        };
        if best.rank() <= own.rank() {
            return Ok(());
        }
        let node = self.roster.node(*id);
        let shares = self.roster.used(*id, node.point_at(own.id))? == Some(own);
        if !shares {
            self.fill_anew(journals)?;
        }
        let after = self.catalog.end()?;
        let entries = node.entries(after, &mut |entries| self.catalog.apply(&entries));
        // Also if the node has broken off: what it gave before is in the catalog.
        self.replication.restart()?;
        self.roster.used(*id, entries)?;
        let end = self.catalog.end()?;
        if end != *best {
            let text = format!(
                "node {id} has not given all of its journal: entry {} of {}",
                end.id, best.id
            );
            return Err(Error::other(Code::Damaged, text));
        }
        tracing::info!(
            "took up entries {} to {} of the journal from data server {id}",
            own.id + 1,
            end.id
        );
        Ok(())
    }

    /// Small files in the part of the journal that may never have been decided, of which fewer than two
    /// nodes hold their pieces.
    fn uncertain(&self, registered: NodeSet) -> Result<Vec<VersionId>> {
        let journals = registered.iter().filter_map(|id| self.roster.node(id).greeted());
        let mut after = journals.map(|journal| journal.decided).max().unwrap_or(0);
        let mut stored = Vec::new();
        // What is not in the catalog's journal any more is in snapshots, which hold only what is decided.
        while let Some(entries) = self.catalog.entries_after(after)?.filter(|all| !all.is_empty()) {
            for entry in &entries {
                if let Change::Stored { version, inline: true, .. } = entry.change()? {
                    stored.push(version);
                }
            }
            after = entries.last().map_or(after, |entry| entry.id);
        }
        let mut uncertain = Vec::new();
        for versions in stored.chunks(VERSION_IDS_MAX) {
            let holders = settle::holders(&self.roster, registered, versions)?;
            let few = versions.iter().zip(holders).filter(|(_, who)| who.len() < READ_QUORUM);
            uncertain.extend(few.map(|(version, _)| *version));
        }
        Ok(uncertain)
    }

    /// Fills the catalog from the newest snapshot that any of these nodes has.
    fn fill_anew(&self, journals: &[(NodeId, Point)]) -> Result<()> {
        let nodes: NodeSet = journals.iter().map(|(id, _)| *id).collect();
        let snapshots = recover::list_snapshots(nodes, &|id| Some(self.roster.node(id).as_ref()))?;
        for (head, id) in snapshots {
            tracing::warn!(
                "the user database is older than the nodes' journals reach, or has gone another way; it \
                 is filled anew from the snapshot of data server {id}. The old one is kept beside it"
            );
            let node = self.roster.node(id);
            let filled = self.catalog.fill_anew(head.at, &mut |take| {
                recover::read_snapshot(id, node.as_ref(), &head, take)
            });
            match filled {
                Ok(()) => return self.replication.restart(),
                Err(error) => {
                    tracing::warn!("data server {id}: its snapshot cannot be used: {error}")
                }
            }
        }
        let text = "the user database does not fit the nodes' journals, and none of them has a snapshot \
                    to fill it anew from";
        Err(Error::other(Code::Damaged, text))
    }
}

//! One thread for each node that looks after it: is it there, and does it hold what it should?
//!
//! ```text
//!        ┌────────────── twice a second, or when notified ──────────────┐
//!        v                                                             │
//!   probe ──silent───────────────────────────────────────────────────> │
//!     │ answers                                                        │
//!     └─ it may lack pieces, or was not compared for long: ──────────> │
//!        the next page of its pieces is compared with the catalog
//! ```
//!
//! What it lacks is rebuilt by another thread (`repair.rs`), and the journal reaches it by a third
//! (`replication.rs`).

use std::time::Duration;

use crate::core::cluster::Cluster;
use crate::core::cluster::backoff::Backoff;
use crate::core::cluster::compare::{Compared, Comparison, GRACE};
use crate::core::error::{Error, NodeFailure, Result};
use crate::core::types::{NodeId, NodeSet};

/// How often a node is probed.
const PROBE_EVERY: Duration = Duration::from_millis(500);

/// How often a node that cannot be reached is mentioned in the log.
const COMPLAIN_EVERY: Duration = Duration::from_secs(30);

/// When a node that has come up is compared: one that had hung may at first still be busy with what was
/// sent to it before.
const COMPARE_FIRST: Duration = Duration::from_secs(10);

/// How often a node is compared.
const COMPARE_EVERY: Duration = Duration::from_secs(3600);

/// Starts the four supervisors. They run until the process ends.
///
/// # Errors
/// If the system has no threads left.
pub fn start(cluster: &Cluster) -> Result<()> {
    for id in NodeId::ALL {
        let mut supervisor = NodeSupervisor::new(id, cluster);
        let name = format!("supervisor of node {id}");
        cluster.notifier.run_rounds(&name, PROBE_EVERY, move |now| {
            supervisor.is_due(now) && supervisor.round(now)
        })?;
    }
    let notifier = cluster.notifier.clone();
    // One that was lost may only have lost its connections.
    cluster.roster.when_lost(Box::new(move |_| notifier.notify()));
    Ok(())
}

/// Looks after one node.
pub struct NodeSupervisor {
    id: NodeId,
    cluster: Cluster,
    probe_at: Option<Duration>,
    times_lost: u64,
    complained_at: Option<Duration>,
    /// When it is compared next, whether it has a gap or not.
    compare_at: Option<Duration>,
    /// A comparison is not begun before.
    not_before: Duration,
    /// Since one could not be finished.
    compare_backoff: Backoff,
    comparison: Option<Comparison>,
}

impl NodeSupervisor {
    /// The supervisor of this node.
    pub fn new(id: NodeId, cluster: &Cluster) -> NodeSupervisor {
        NodeSupervisor {
            id,
            cluster: cluster.clone(),
            probe_at: None,
            times_lost: 0,
            complained_at: None,
            compare_at: None,
            not_before: Duration::ZERO,
            compare_backoff: Backoff::default(),
            comparison: None,
        }
    }

    /// One look at the node: probes it if that is due, and compares a page of its pieces if there is
    /// reason to. True if there is more to compare. `now` counts from any fixed point.
    pub fn round(&mut self, now: Duration) -> bool {
        let leadership = self.cluster.roster.leadership();
        // A server that was taken over has nothing more to say.
        if leadership.check().is_err() {
            return false;
        }
        // While pages are compared one after the other, it is not probed before each of them.
        let probes = self.comparison.is_none() || self.is_probe_due(now);
        if probes && !self.probe(now) {
            self.comparison = None;
            return false;
        }
        if !self.cluster.roster.leadership().is_established() {
            return false;
        }
        match self.compare(now) {
            Ok(more) => more,
            Err(error) => {
                self.comparison = None;
                self.compare_backoff = self.compare_backoff.next(now);
                self.not_before = self.compare_backoff.until;
                tracing::warn!("data server {}: its pieces are compared later: {error}", self.id);
                false
            }
        }
    }

    /// Is there something to do, although nobody may have said so?
    fn is_due(&mut self, now: Duration) -> bool {
        let times_lost = self.cluster.roster.times_lost(self.id);
        if std::mem::replace(&mut self.times_lost, times_lost) != times_lost {
            self.probe_at = None;
        }
        self.comparison.is_some() || self.is_probe_due(now) || self.has_gap_to_close(now)
    }

    /// May it lack pieces, and can that be found out now? Until then it counts for nothing that is
    /// read, so it is not left for the next probe.
    fn has_gap_to_close(&self, now: Duration) -> bool {
        now >= self.not_before
            && self.cluster.roster.seen(self.id).has_gap()
            && self.cluster.roster.leadership().is_established()
            && self.cluster.replication.in_step().contains(self.id)
    }

    fn is_probe_due(&self, now: Duration) -> bool {
        self.probe_at.is_none_or(|at| now >= at)
    }

    /// True if the node is up.
    fn probe(&mut self, now: Duration) -> bool {
        self.probe_at = Some(now + PROBE_EVERY);
        let (roster, replication) = (&self.cluster.roster, &self.cluster.replication);
        let (had, told) = (replication.confirmed(self.id), replication.decided());
        let answer = roster.node(self.id).ping(told);
        if let Ok(alive) = &answer {
            // Before it counts as up: nobody then stores on it without knowing its room, or takes it
            // for one that has what it had.
            roster.note_alive(self.id, alive);
            replication.probed(self.id, had, told, &alive.journal);
        }
        let (mut answer, mut came_up) = roster.probed(self.id, answer.map(drop));
        if answer.is_ok() && roster.health(self.id).is_on_probation() {
            (answer, came_up) = roster.proved(self.id, roster.node(self.id).prove_disk());
        }
        if came_up {
            tracing::info!("connected to data server {}", self.id);
            if roster.up() == NodeSet::ALL {
                tracing::info!("Connected to all data servers.");
            }
            self.complained_at = None;
            self.comparison = None;
            self.compare_at = Some(now + COMPARE_FIRST);
            (self.not_before, self.compare_backoff) = (now, Backoff::default());
            self.cluster.notifier.notify();
        }
        match answer {
            Ok(()) => true,
            Err(error) => {
                let is_fenced =
                    matches!(error, Error::Node { why: NodeFailure::Fenced { .. }, .. });
                if !is_fenced && self.complained_at.is_none_or(|at| now >= at + COMPLAIN_EVERY) {
                    self.complained_at = Some(now);
                    tracing::info!("still trying to connect to data server {}: {error}", self.id);
                }
                false
            }
        }
    }

    /// Compares a page; true if there are more.
    fn compare(&mut self, now: Duration) -> Result<bool> {
        let mut comparison = match self.comparison.take() {
            Some(comparison) => comparison,
            None => {
                let is_due = self.compare_at.is_some_and(|at| now >= at)
                    || self.cluster.roster.seen(self.id).has_gap();
                if !is_due || now < self.not_before {
                    return Ok(false);
                }
                match Comparison::begin(&self.cluster, self.id, GRACE)? {
                    Some(comparison) => comparison,
                    None => return Ok(false),
                }
            }
        };
        match comparison.step(&self.cluster, None)? {
            None => {
                self.comparison = Some(comparison);
                Ok(true)
            }
            Some(compared) => {
                self.compare_at = Some(now + COMPARE_EVERY);
                self.compare_backoff = Backoff::default();
                self.report(compared)?;
                Ok(false)
            }
        }
    }

    fn report(&self, compared: Compared) -> Result<()> {
        let Compared { placed, lost, .. } = compared;
        let id = self.id;
        if lost == 0 {
            return Ok(());
        }
        let is_replaced = self
            .cluster
            .catalog
            .replacements()?
            .iter()
            .any(|replacement| replacement.node == id && replacement.proved_ms.is_none());
        if is_replaced {
            tracing::info!("data server {id}: the new node lacks {lost} of {placed} pieces");
        } else if lost == placed {
            tracing::error!(
                "data server {id} HAS LOST ALL ITS PIECES: {lost} should be there. They are rebuilt \
                 from the other nodes. If it was started with an empty folder by mistake, stop it and \
                 start it with its own folder"
            );
        } else {
            tracing::warn!(
                "data server {id} lacks {lost} of the {placed} pieces that it should hold; they are \
                 rebuilt from the other nodes"
            );
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::cluster::volume::fixture::{Fixture, fixture};

    /// So many probes, twice a second, until a node is up that was late twice.
    fn probes_until_up(f: &mut Fixture, cannot_write: bool) -> usize {
        f.node(2).cannot_write = cannot_write;
        for is_late in [true, false, true] {
            f.node(2).is_late = is_late;
            f.pass(PROBE_EVERY);
            f.look();
        }
        f.node(2).is_late = false;
        let mut probes = 0;
        while !f.cluster.roster.health(NodeId::ALL[1]).is_up() {
            f.pass(PROBE_EVERY);
            f.look();
            probes += 1;
        }
        probes
    }

    #[test]
    fn a_node_restarted_between_two_probes_is_told_again_what_is_decided() {
        let mut f = fixture();
        f.store(1, b"content");
        let decided = f.cluster.replication.decided();
        f.look();
        assert_eq!(f.node(2).decided(), decided);
        f.node(2).restart();
        f.pass(PROBE_EVERY);
        f.look();
        assert_eq!(f.node(2).decided(), 0, "it does not know whose journal it has");
        while f.cluster.replication.round(NodeId::ALL[1]) {}
        f.pass(PROBE_EVERY);
        f.look();
        assert_eq!(f.node(2).decided(), decided);
        assert!(f.cluster.roster.up().contains(NodeId::ALL[1]), "nobody has missed it");
    }

    #[test]
    fn a_node_that_was_late_is_taken_back_sooner_if_it_writes_to_its_disk() {
        assert_eq!(probes_until_up(&mut fixture(), true), 10, "5 s");
        assert_eq!(probes_until_up(&mut fixture(), false), 2);
    }
}

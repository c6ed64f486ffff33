//! What goes wrong in a run, as far as the promises cover it.

use std::panic;
use std::path::Path;

use palk::core::cluster::retention::Keep;
use palk::core::types::{NodeId, NodeSet};
use rand::RngExt;

use super::clock::some_time_us;
use super::disk::ROOT;
use super::node::{Event, Process, ServerCrash};
use super::world::World;

/// How many older copies of a catalog are kept.
const COPIES_MAX: usize = 3;

/// What goes wrong in a run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Faults {
    pub(crate) node_crashes: bool,
    pub(crate) server_crashes: bool,
    pub(crate) loss: bool,
    pub(crate) disk_errors: bool,
    pub(crate) full_disks: bool,
    /// One node's blocks rot.
    pub(crate) rot: bool,
    /// Nodes' folders are emptied, put back to an older copy, and vanish for a while.
    pub(crate) damage: bool,
    /// Scrubs run meanwhile; at the end somebody tampers with the nodes, and a scrub must mend it.
    pub(crate) scrubs: bool,
    /// Servers are taken over by others that begin with a copy of a catalog, and cannot reach all nodes.
    pub(crate) take_overs: bool,
    /// The server's disk is lost and the catalog recovered from the nodes, or it is put back to an
    /// older copy.
    pub(crate) disk_loss: bool,
    /// The nodes' file systems have no hard links.
    pub(crate) no_links: bool,
    /// For how long what was replaced or deleted is kept.
    pub(crate) keep: Keep,
    /// Servers' clocks are wrong, and are set.
    pub(crate) clocks: bool,
    /// Much of what is done is about what was.
    pub(crate) history: bool,
    /// Much of what is done is about uploads.
    pub(crate) uploads: bool,
    /// Canary: disks lie about syncing.
    pub(crate) lies: bool,
    /// Canary: two nodes say that they have appended entries, and have not.
    pub(crate) hollow: bool,
    /// Canary: snapshots end as soon as they are made.
    pub(crate) hasty_snapshots: bool,
    /// Canary: folders that are being filled are forgotten.
    pub(crate) unsparing: bool,
    /// Canary: what was is let go of at once.
    pub(crate) forgetful: bool,
    /// Canary: what is shared goes with the file that it came from.
    pub(crate) unsharing: bool,
}

impl World {
    /// How many nodes may have lost something at a time: two, if all catalogs are what they should be.
    fn damage_max(&self) -> usize {
        if self.faults.take_overs || self.faults.disk_loss { 1 } else { 2 }
    }

    /// The nodes that do not count for what the promises cover.
    fn unsound(&self) -> NodeSet {
        let is_unsound = |id: &NodeId| self.damaged[id.index()] || self.rotten == Some(id.index());
        NodeId::ALL.into_iter().filter(is_unsound).collect()
    }

    /// May a catalog be one that knows less than was answered?
    pub(crate) fn may_lose_votes(&self) -> bool {
        self.damaged.iter().filter(|damaged| **damaged).count() <= 1
    }

    /// Do the promises cover that this node loses something now? Every file must have two good pieces on
    /// other nodes, which only a server that knows everything can tell.
    fn may_damage(&self, which: usize) -> bool {
        let mut unsound = self.unsound();
        unsound.insert(NodeId::ALL[which]);
        let settled = (0..self.servers.len()).find(|at| self.is_settled(*at));
        let Some(at) = settled.filter(|_| unsound.len() <= self.damage_max()) else {
            return false;
        };
        let cluster = &self.servers[at].cluster;
        let versions = cluster.catalog.versions_after(None, usize::MAX).unwrap();
        // A node may not have got yet what is placed on it.
        let has_gap = |id: &NodeId| cluster.roster.seen(*id).has_gap();
        let left: NodeSet = unsound.complement().iter().filter(|id| !has_gap(id)).collect();
        self.lost.is_none()
            && versions.iter().all(|held| {
                let has_it = cluster.replication.who_has(held.placed_at);
                held.placed.and(has_it).and(left).len() >= 2
            })
    }

    pub(crate) fn fault(&mut self) {
        let faults = self.faults;
        let which = self.random.random_range(0..4);
        let node = self.nodes[which].clone();
        let what = self.random.random_range(0..18);
        tracing::info!("fault {what} of node {}", which + 1);
        match what {
            0 if faults.node_crashes => {
                let calls = self.random.random_range(1..40);
                node.disk().crash_in(calls);
            }
            1 if faults.node_crashes => node.end(self.random.random_bool(0.5)),
            2 if faults.node_crashes || faults.take_overs => {
                let mut machine = node.machine();
                if machine.process == Process::Running {
                    machine.process = Process::Hung;
                }
            }
            3..=5 => self.mend(which),
            6 if faults.server_crashes => {
                let calls = self.random.random_range(1..25);
                let event = if self.random.random_bool(0.5) {
                    Event::CrashBefore
                } else {
                    Event::CrashAfter
                };
                self.links().order(calls, event);
            }
            7 if faults.disk_errors => {
                let calls = self.random.random_range(1..40);
                node.disk().fail_in(calls);
            }
            8 if faults.full_disks => {
                // Less than its reserve, a little more, or room without an end again.
                let free = match self.random.random_range(0..4) {
                    0 => Some(0),
                    1 => Some(self.random.random_range(0..20_000)),
                    _ => None,
                };
                node.disk().leave_free(free);
            }
            9 if faults.rot && (self.rotten == Some(which) || self.may_damage(which)) => {
                let rotten = *self.rotten.get_or_insert(which);
                self.nodes[rotten].disk().rot(&Path::new(ROOT).join(".palk/pieces"));
            }
            10 if faults.damage => self.damage(which),
            11 if faults.damage => self.node_copies[which] = Some(node.disk().copy()),
            12 if faults.disk_loss => self.lose_disk(),
            13 if faults.disk_loss || faults.take_overs => self.copy_catalog(),
            14 if faults.disk_loss => self.roll_back_catalog(),
            15 if faults.disk_loss => self.copy_catalog(),
            16..=17 if faults.clocks => self.set_a_clock(),
            _ => {}
        }
    }

    /// A node's folder vanishes for a while, is emptied, or is put back to an older copy.
    fn damage(&mut self, which: usize) {
        let node = self.nodes[which].clone();
        let what = self.random.random_range(0..4);
        if what == 0 {
            node.disk().vanish();
            return;
        }
        if !self.may_damage(which) {
            return;
        }
        self.damaged[which] = true;
        self.tally.damaged += 1;
        let copy = self.node_copies[which].clone();
        match copy.filter(|_| what > 1) {
            Some(copy) => {
                node.end(true);
                // A copy without hard links has a view of its own, which only a scrub puts right.
                let with_links = self.random.random_ratio(2, 3);
                self.needs_scrub |= !with_links;
                node.disk().put_back(&copy, with_links);
                node.start();
            }
            None => {
                // Under a process that runs on for a while, or before it starts again.
                if self.random.random_bool(0.5) {
                    node.end(false);
                }
                node.disk().wipe(Path::new(ROOT));
                // One that hangs still has the folder's lock.
                let is_down = node.machine().process == Process::Down;
                if is_down {
                    node.start();
                }
            }
        }
        node.forget_obedience();
    }

    /// Somebody sets the clock of the server of the moment.
    fn set_a_clock(&mut self) {
        let by_us = some_time_us(&mut self.random);
        let Some(server) = self.servers.get(self.at) else { return };
        server.clock.set_off(by_us);
        self.tally.clocks_set += 1;
    }

    fn copy_catalog(&mut self) {
        let Some(server) = self.servers.get(self.at) else { return };
        let copy = self.site.copy_of(&server.database);
        self.catalog_copies.push(copy);
        if self.catalog_copies.len() > COPIES_MAX {
            let oldest = self.catalog_copies.remove(0);
            let _ = std::fs::remove_dir_all(oldest);
        }
    }

    /// The server's machine goes down, and its disk is put back to an older copy.
    fn roll_back_catalog(&mut self) {
        if self.servers.len() == 1 && !self.catalog_copies.is_empty() && self.may_lose_votes() {
            self.is_rolled_back = true;
            panic::panic_any(ServerCrash);
        }
    }

    /// The server's disk is lost, where the promises cover it: two nodes are at hand that have lost
    /// nothing.
    fn lose_disk(&mut self) {
        let is_at_hand = |id: &NodeId| {
            let node = &self.nodes[id.index()];
            node.is_running() && !node.disk().is_away()
        };
        let mut at_hand: NodeSet = NodeId::ALL.into_iter().filter(is_at_hand).collect();
        // Some of them may be lost together with it.
        let few = self.random.random_bool(0.5);
        while at_hand.len() > 2 && (few || self.random.random_bool(0.4)) {
            at_hand.remove(NodeId::ALL[self.random.random_range(0..4)]);
        }
        let damaged: NodeSet =
            NodeId::ALL.into_iter().filter(|id| self.damaged[id.index()]).collect();
        if self.servers.len() == 1 && at_hand.and(damaged.complement()).len() >= 2 {
            self.lost = Some(at_hand);
            panic::panic_any(ServerCrash);
        }
    }
}

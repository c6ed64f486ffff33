//! What monitors read of a server: what `palk status` tells, as metrics, and what the doors have counted.
//! `docs/monitoring.md` lists it.

use std::sync::Arc;

use serde::Serialize;

use crate::core::error::Result;
use crate::core::health::State as NodeState;
use crate::core::io::clock;
use crate::core::io::listener::State as Connections;
use crate::core::io::monitor::{Health, Monitored};
use crate::core::metrics::{Labels, Page, flag, number, seconds};
use crate::core::serve::meter::{Entrance, Meters};
use crate::core::serve::operator::Operator;
use crate::core::status::{
    Backup, Flow, NodeStatus, ScrubPhase, Scrubbing, State, Status, Transfers, Upkeep,
};
use crate::core::wire::admin::one_line;

/// A server, to be monitored.
pub(super) struct MonitoredServer {
    operator: Arc<Operator>,
    meters: Arc<Meters>,
    clients: Arc<Connections>,
    /// The other doors that are open.
    doors: Vec<(Entrance, Arc<Connections>)>,
    begun_ms: i64,
}

impl MonitoredServer {
    pub(super) fn new(
        operator: Arc<Operator>,
        meters: Arc<Meters>,
        clients: Arc<Connections>,
        doors: Vec<(Entrance, Arc<Connections>)>,
    ) -> MonitoredServer {
        MonitoredServer { operator, meters, clients, doors, begun_ms: clock::now_ms() }
    }

    fn status(&self) -> Result<Status> {
        // As often as users may ask, as it looks through the catalog.
        self.operator.status_for_users()
    }

    fn is_open(&self, entrance: Entrance) -> bool {
        let is_door = self.doors.iter().any(|(open, _)| *open == entrance);
        is_door || matches!(entrance, Entrance::Plain | Entrance::Extended)
    }

    fn tell_connections(&self, page: &mut Page) {
        let mut listeners = vec![("client", &self.clients)];
        for (entrance, connections) in &self.doors {
            // Several doors of a kind count together.
            if !listeners.iter().any(|(name, _)| *name == entrance.as_str()) {
                listeners.push((entrance.as_str(), connections));
            }
        }
        let sum = |name: &str, of: fn(&Connections) -> u64| {
            let doors = self.doors.iter().map(|(entrance, its)| (entrance.as_str(), its));
            let all = doors.chain([("client", &self.clients)]);
            all.filter(|(own, _)| *own == name).map(|(_, its)| of(its)).sum::<u64>()
        };
        let each = |of: fn(&Connections) -> u64| {
            let told = listeners.iter().map(|(name, _)| {
                let labels: Labels = vec![("listener", (*name).to_owned())];
                (labels, sum(name, of))
            });
            told.collect::<Vec<_>>()
        };
        let now = each(|its| its.connections() as u64);
        let now = now.into_iter().map(|(labels, count)| (labels, number(count)));
        page.gauges("connections", "Connections that are open.", now);
        let accepted = each(Connections::accepted);
        page.counters("connections_accepted", "Connections that were accepted.", accepted);
        let refused = each(Connections::turned_away);
        page.counters("connections_refused", "Connections that were one too many.", refused);
    }
}

impl Monitored for MonitoredServer {
    fn metrics(&self) -> Page {
        let mut page = Page::default();
        page.process(&Labels::new(), self.begun_ms);
        let [end, decided] = self.operator.journal();
        page.gauge("journal_end", "The number of the journal's last entry.", number(end));
        page.gauge(
            "journal_decided",
            "Up to this entry all is on three nodes; 0 until this server leads.",
            number(decided),
        );
        self.tell_connections(&mut page);
        self.meters.tell(&mut page, |entrance| self.is_open(entrance));
        let status = self.status();
        page.gauge(
            "status_known",
            "Whether the catalog could be read; if it is 0, what follows from it is missing here.",
            flag(status.is_ok()),
        );
        match status {
            Ok(status) => tell_status(&mut page, &status),
            Err(error) => tracing::warn!("the metrics lack the status: {error}"),
        }
        page
    }

    /// Serving is storing and reading. A server that cannot store now goes on reading, but is not well.
    fn health(&self) -> Health {
        #[derive(Serialize)]
        struct Told {
            serves: bool,
            state: Option<State>,
            nodes_to_spare: Option<usize>,
        }
        let status = self.status().ok();
        let serves = status.as_ref().is_some_and(|status| status.can_store);
        let told = Told {
            serves,
            state: status.as_ref().map(|status| status.state),
            nodes_to_spare: status.as_ref().map(|status| status.nodes_to_spare),
        };
        // It is too short to be refused.
        Health { serves, line: one_line(&told).unwrap_or_default() }
    }
}

fn tell_status(page: &mut Page, status: &Status) {
    let states = [State::Healthy, State::Degraded, State::Unavailable];
    let words = ["healthy", "degraded", "unavailable"];
    page.gauges(
        "cluster_state",
        "1 for the state that the cluster is in, as palk status tells it.",
        states
            .into_iter()
            .zip(words)
            .map(|(state, word)| (vec![("state", word.to_owned())], flag(state == status.state))),
    );
    page.gauge("can_store", "Whether files can be stored now.", flag(status.can_store));
    page.gauge(
        "nodes_to_spare",
        "How many more nodes may be lost, whichever they are, with every file still readable.",
        number(status.nodes_to_spare as u64),
    );
    page.gauge("troubles", "Things that are wrong.", number(status.troubles.len() as u64));
    page.gauge("files", "Files of all users.", number(status.files.count));
    page.gauge("file_bytes", "Their sizes together.", number(status.files.bytes));
    let unreadable = number(status.files.unreadable);
    page.gauge("files_unreadable", "Files that cannot be read now.", unreadable);
    tell_nodes(page, &status.nodes);
    if let Some(upkeep) = &status.upkeep {
        tell_upkeep(page, upkeep);
    }
    if let Some(transfers) = &status.transfers {
        tell_transfers(page, transfers);
    }
}

fn tell_nodes(page: &mut Page, nodes: &[NodeStatus]) {
    let label = |node: &NodeStatus| ("node", node.node.to_string());
    let each = |of: &dyn Fn(&NodeStatus) -> Option<f64>| {
        let told = nodes.iter().filter_map(|node| Some((vec![label(node)], of(node)?)));
        told.collect::<Vec<_>>()
    };
    let is_up = |node: &NodeStatus| matches!(node.state, NodeState::Up | NodeState::Probation);
    page.gauges("node_up", "Whether the node answers.", each(&|node| Some(flag(is_up(node)))));
    let states = [
        (NodeState::Unknown, "unknown"),
        (NodeState::Up, "up"),
        (NodeState::Late, "late"),
        (NodeState::Probation, "probation"),
        (NodeState::Down, "down"),
    ];
    let state = nodes.iter().flat_map(|node| {
        states.map(|(state, word)| {
            let labels: Labels = vec![label(node), ("state", word.to_owned())];
            (labels, flag(node.state == state))
        })
    });
    page.gauges("node_state", "1 for the state that the node is in.", state);
    page.gauges(
        "node_trusted",
        "Whether what the catalog says of the node's pieces can be relied on.",
        each(&|node| Some(flag(node.trusted))),
    );
    page.gauges(
        "node_silent_seconds",
        "How long ago the node last answered.",
        each(&|node| node.silent_ms.map(seconds)),
    );
    page.gauges(
        "node_free_bytes",
        "What is free on the node's disk.",
        each(&|node| node.room.map(|room| number(room.free_bytes))),
    );
    page.gauges(
        "node_spare_bytes",
        "What of that is left for new pieces.",
        each(&|node| node.room.map(|room| number(room.spare_bytes))),
    );
    page.gauges(
        "node_size_bytes",
        "The size of the node's disk.",
        each(&|node| node.room.map(|room| number(room.total_bytes))),
    );
    page.gauges(
        "node_missing_pieces",
        "Pieces that the node still has to receive.",
        each(&|node| Some(number(node.owed.pieces))),
    );
    page.gauges(
        "node_missing_bytes",
        "The bytes of those pieces.",
        each(&|node| Some(number(node.owed.piece_bytes))),
    );
    page.counters(
        "node_errors",
        "How often the node did not have a piece, or had it damaged.",
        nodes.iter().map(|node| (vec![label(node)], node.errors)),
    );
}

fn tell_upkeep(page: &mut Page, upkeep: &Upkeep) {
    let backups = |of: fn(&Backup) -> Option<f64>| {
        let told = upkeep.backups.iter().filter_map(move |backup| {
            let labels: Labels = vec![("node", backup.node.to_string())];
            Some((labels, of(backup)?))
        });
        told.collect::<Vec<_>>()
    };
    page.gauges(
        "node_journal_behind_entries",
        "Entries that the node's journal lacks.",
        backups(|backup| backup.behind.map(number)),
    );
    page.gauges(
        "node_snapshot_age_seconds",
        "How long ago the node took a snapshot of the catalog.",
        backups(|backup| backup.written_ms_ago.map(seconds)),
    );
    page.counter("repaired_pieces", "Pieces that were rebuilt.", upkeep.healed.pieces);
    page.counter(
        "repair_read_bytes",
        "What was read from the nodes to rebuild them.",
        upkeep.healed.bytes_read,
    );
    page.gauge(
        "replacements",
        "Nodes that are being replaced.",
        number(upkeep.replacing.len() as u64),
    );
    page.gauge("kept_bytes", "What is kept for undo and in snapshots.", number(upkeep.kept.bytes));
    page.gauge("snapshots", "Snapshots that there are.", number(upkeep.kept.snapshots));
    if let Some(scrub) = &upkeep.scrub {
        tell_scrub(page, scrub);
    }
}

fn tell_scrub(page: &mut Page, scrub: &Scrubbing) {
    let is_running = !matches!(scrub.phase, ScrubPhase::Done | ScrubPhase::Stopped);
    page.gauge("scrub_running", "Whether a scrub is running.", flag(is_running));
    page.gauge(
        "scrub_progress_ratio",
        "How much of the last scrub is done.",
        number(scrub.percent()) / 100.0,
    );
    page.gauge("scrub_read_bytes", "What the last scrub has read.", number(scrub.bytes));
    page.gauge("scrub_wrong_pieces", "Pieces whose bytes were wrong.", number(scrub.wrong));
    page.gauge("scrub_missing_pieces", "Pieces that were missing.", number(scrub.missing));
    page.gauge(
        "scrub_damaged_files",
        "Files whose nodes contradict each other.",
        number(scrub.damaged),
    );
    page.gauge("scrub_owed_pieces", "Of what it found, what is not mended.", number(scrub.owed));
    page.gauge(
        "scrub_unchecked_nodes",
        "Nodes of which it could not check everything.",
        number(scrub.unchecked.len() as u64),
    );
    if let Some(ended_ms_ago) = scrub.ended_ms_ago {
        page.gauge("scrub_age_seconds", "How long ago it ended.", seconds(ended_ms_ago));
    }
}

fn tell_transfers(page: &mut Page, transfers: &Transfers) {
    let both = [("in", transfers.stores), ("out", transfers.retrievals)];
    let labels = |direction: &str| -> Labels { vec![("direction", direction.to_owned())] };
    page.gauges(
        "transfers",
        "Files that are on their way.",
        both.map(|(way, flow): (_, Flow)| (labels(way), number(flow.running))),
    );
    page.counters(
        "transfer_bytes",
        "Bytes of files that came from users and went to them.",
        both.map(|(way, flow)| (labels(way), flow.bytes)),
    );
}

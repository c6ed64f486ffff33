//! What monitors read of a node: its disk, its journal, its pieces, and how long requests take.
//! `docs/monitoring.md` lists it.

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::core::io::listener::State;
use crate::core::io::monitor::{Health, Monitored};
use crate::core::metrics::{Count, Labels, Latency, Page, flag, number, words};
use crate::core::node::census::Census;
use crate::core::node::disk_check::DiskWatch;
use crate::core::node::store::BlockStore;
use crate::core::wire::admin::one_line;
use crate::core::wire::node::{Alive, DiskTrouble, Request};

words! {
    /// A kind of request.
    pub(super) Kind:
    /// A probe.
    Ping = "ping",
    /// A piece comes.
    Stage = "stage",
    /// Entries come, with small files' pieces.
    Append = "append",
    /// A piece goes.
    Read = "read",
    /// A piece is checked.
    Verify = "verify",
    /// The journal is looked into.
    PointAt = "point-at",
    /// The journal is read.
    Entries = "entries",
    /// A part of a snapshot comes or goes.
    Snapshot = "snapshot",
    /// Pieces are listed.
    Pieces = "pieces",
    /// It is asked which pieces are not there.
    Lacks = "lacks",
    /// Pieces are removed.
    Discard = "discard",
    /// The gap is closed.
    CloseGap = "close-gap",
    /// The view is checked.
    CheckView = "check-view",
    /// The disk is written to.
    ProveDisk = "prove-disk",
    /// A server ends.
    Bye = "bye",
    /// It is asked whom the node serves.
    WhoServes = "who-serves",
    /// Anything else.
    Other = "other",
}

/// What a node counts.
#[derive(Default, Debug)]
pub(super) struct NodeMeter {
    latencies: [Latency; Kind::COUNT],
    failed: [Count; Kind::COUNT],
    /// Bytes of pieces that came and went.
    pub(super) received_bytes: Count,
    pub(super) sent_bytes: Count,
}

impl Kind {
    pub(super) fn of(request: &Request) -> Kind {
        match request {
            Request::Ping { .. } => Kind::Ping,
            Request::Stage(_) => Kind::Stage,
            Request::Append(_) => Kind::Append,
            Request::Read { .. } => Kind::Read,
            Request::Verify { .. } => Kind::Verify,
            Request::PointAt { .. } => Kind::PointAt,
            Request::Entries { .. } => Kind::Entries,
            Request::Snapshot(_) => Kind::Snapshot,
            Request::Pieces { .. } => Kind::Pieces,
            Request::Lacks { .. } => Kind::Lacks,
            Request::Discard { .. } => Kind::Discard,
            Request::CloseGap { .. } => Kind::CloseGap,
            Request::CheckView => Kind::CheckView,
            Request::ProveDisk => Kind::ProveDisk,
            Request::Bye => Kind::Bye,
            Request::WhoServes { .. } => Kind::WhoServes,
            Request::Hello { .. }
            | Request::Units { .. }
            | Request::KeepAlive
            | Request::Shorten { .. }
            | Request::Finish { .. } => Kind::Other,
        }
    }
}

impl NodeMeter {
    /// Counts a request that was answered after this time, and whether it failed.
    pub(super) fn answered(&self, kind: Kind, time: Duration, failed: bool) {
        self.latencies[kind as usize].took(time);
        if failed {
            self.failed[kind as usize].add_one();
        }
    }

    fn tell(&self, page: &mut Page, node: &str) {
        let labels =
            |kind: &Kind| vec![("node", node.to_owned()), ("kind", kind.as_str().to_owned())];
        let latencies = Kind::ALL.iter().zip(&self.latencies).map(|(kind, its)| (kind, its.told()));
        page.latencies(
            "storage_request_seconds",
            "How long requests of the server took, pieces included.",
            latencies.filter(|(_, told)| told.count > 0).map(|(kind, told)| (labels(kind), told)),
        );
        page.counters(
            "storage_errors",
            "Requests of the server that were answered with a failure.",
            Kind::ALL.iter().zip(&self.failed).map(|(kind, failed)| (labels(kind), failed.get())),
        );
        let own = || -> Labels { vec![("node", node.to_owned())] };
        page.counters(
            "storage_received_bytes",
            "Bytes of pieces and journal that came.",
            [(own(), self.received_bytes.get())],
        );
        page.counters(
            "storage_sent_bytes",
            "Bytes of pieces that went.",
            [(own(), self.sent_bytes.get())],
        );
    }
}

/// A node, to be monitored.
pub(super) struct MonitoredNode {
    pub(super) store: Arc<BlockStore>,
    pub(super) watch: Arc<DiskWatch>,
    pub(super) meter: Arc<NodeMeter>,
    pub(super) census: Arc<Census>,
    pub(super) state: Arc<State>,
    pub(super) begun_ms: i64,
}

impl MonitoredNode {
    /// How the node is, as it tells the server; why it does not know.
    fn alive(&self) -> Result<Alive, String> {
        self.watch.alive(&self.store).map_err(|error| error.to_string())
    }
}

impl Monitored for MonitoredNode {
    fn metrics(&self) -> Page {
        let node = self.store.id().to_string();
        let own = || -> Labels { vec![("node", node.clone())] };
        let mut page = Page::default();
        page.process(&own(), self.begun_ms);
        self.meter.tell(&mut page, &node);
        let mut gauge = |name, help, value| page.gauges(name, help, [(own(), value)]);
        gauge(
            "storage_connections",
            "Connections of servers.",
            number(self.state.connections() as u64),
        );
        let alive = self.alive();
        let is_well = matches!(&alive, Ok(Alive { trouble: None, .. }));
        gauge("storage_disk_ok", "Whether nothing is wrong with folder and disk.", flag(is_well));
        if let Some([pieces, bytes]) = self.census.told() {
            gauge("storage_pieces", "Pieces on the disk.", number(pieces));
            gauge("storage_piece_bytes", "The bytes of their blocks.", number(bytes));
        }
        let Ok(alive) = alive else { return page };
        if let Some(room) = alive.room {
            let free = number(room.free_bytes);
            gauge("storage_disk_free_bytes", "What is free on the disk.", free);
            let spare = number(room.spare_bytes);
            gauge("storage_disk_spare_bytes", "What of that is left for new pieces.", spare);
            gauge("storage_disk_size_bytes", "The disk's size.", number(room.total_bytes));
        }
        let journal = alive.journal;
        gauge("storage_journal_end", "The journal's last entry.", number(journal.end.id));
        let decided = number(journal.decided);
        gauge("storage_journal_decided", "Up to this entry it knows all to be decided.", decided);
        let snapshot = number(journal.snapshot);
        gauge("storage_journal_snapshot", "The last entry of its newest snapshot.", snapshot);
        gauge(
            "storage_journal_backlog_bytes",
            "Bytes of pieces that are in the journal only.",
            number(journal.backlog_bytes),
        );
        gauge(
            "storage_gap",
            "Whether it may lack pieces that the catalog places on it.",
            flag(journal.gap.is_some()),
        );
        page
    }

    /// A node serves if nothing is wrong with its folder and its disk.
    fn health(&self) -> Health {
        #[derive(Serialize)]
        struct Told {
            serves: bool,
            node: u8,
            #[serde(skip_serializing_if = "Option::is_none")]
            why: Option<String>,
        }
        let why = match self.alive() {
            Ok(alive) => alive.trouble.map(|trouble| described(&trouble)),
            Err(why) => Some(why),
        };
        let told = Told { serves: why.is_none(), node: self.store.id().number(), why };
        // The reason is short enough for a line.
        Health { serves: told.serves, line: one_line(&told).unwrap_or_default() }
    }
}

fn described(trouble: &DiskTrouble) -> String {
    match trouble {
        DiskTrouble::NoInodes => "its disk takes no more files".to_owned(),
        DiskTrouble::NotWritable(why) => format!("it may not write to its folder: {why}"),
        DiskTrouble::Failing(why) => why.clone(),
        DiskTrouble::Full(why) => format!("its disk is full{why}"),
    }
}

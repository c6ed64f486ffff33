//! The end of a run: faults stop, and the cluster must become whole.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use palk::core::catalog::{Catalog, Surveyed};
use palk::core::cluster::retention::Keep;
use palk::core::code::kernel;
use palk::core::code::layout::Layout;
use palk::core::code::repair::Select;
use palk::core::types::{NodeId, NodeSet, VersionId};
use palk::core::wire::snapshot;
use rand::RngExt;

use super::contents::{Part, part};
use super::disk::ROOT;
use super::node::Process;
use super::state::{Item, State, Trees};
use super::users::file;
use super::world::World;

/// Two different nodes.
pub(crate) const PAIRS: [[usize; 2]; 6] = [[0, 1], [0, 2], [0, 3], [1, 2], [1, 3], [2, 3]];

/// Larger files are not decoded from every pair.
const LARGE_BYTES: u64 = 64 << 10;

/// Long enough for every pause to end.
const A_WHILE: Duration = Duration::from_secs(700);

impl World {
    /// Faults stop: all nodes are there, and every server reaches them.
    pub(crate) fn end_faults(&mut self) {
        {
            let mut links = self.links();
            links.loss = 0;
            links.next = None;
        }
        for which in 0..4 {
            self.nodes[which].notice_crash();
            self.nodes[which].disk().behave();
            self.nodes[which].machine().is_hollow = false;
            self.mend(which);
            assert_eq!(self.nodes[which].machine().process, Process::Running, "a node starts");
        }
        self.servers.iter().for_each(|server| *server.cut.lock().unwrap() = [false; 4]);
    }

    /// Ends all faults, starts one server on any of the catalogs that there are, and checks everything.
    pub(crate) fn make_whole(&mut self) {
        self.end_faults();
        self.finish_slow_readers();
        self.choose_last_server();
        self.start_server_somehow();
        self.follow_addresses();
        self.settle_down();
        if self.rotten.is_some() || self.needs_scrub {
            assert!(self.guarded(|world| {
                world.scrub();
            }));
            self.settle_down();
        }
        assert!(self.guarded(World::check_whole));
        self.check_all_past();
        self.check_kept();
        if !self.server().state().uploads.is_empty() {
            assert!(self.guarded(World::finish_uploads));
            self.settle_down();
            assert!(self.guarded(World::check_whole));
        }
        if self.faults.scrubs {
            assert!(self.guarded(World::tamper_and_scrub));
            self.settle_down();
            assert!(self.guarded(World::check_whole));
        }
        self.outlive();
        if self.faults.keep != Keep::Nothing {
            self.let_go_of_all();
            assert!(self.guarded(World::check_whole));
        }
        if self.has_had_snapshots {
            self.let_go_of_snapshots();
            assert!(self.guarded(World::check_whole));
        }
    }

    /// Everyone works until there is nothing more to do.
    pub(crate) fn settle_down(&mut self) {
        let mut trouble = Some("nobody has worked yet".to_owned());
        for _ in 0..40 {
            // What a forgotten folder had is swept up a while after there is nothing else to do.
            let was_whole = trouble.is_none();
            self.pass(A_WHILE);
            assert!(self.guarded(World::attend));
            trouble = self.trouble();
            if trouble.is_none() && was_whole {
                // Long enough for what a node does of its own when it has nothing else to do.
                self.nodes.iter().for_each(|node| node.work_on(100));
                return;
            }
        }
        self.print_journal();
        panic!("the cluster does not become whole: {}", trouble.unwrap_or_default());
    }

    /// For whoever looks into a failure.
    pub(crate) fn print_journal(&mut self) {
        for node in &self.nodes {
            eprintln!("{:?}", node.disk().names());
        }
        let catalog = self.server().cluster.catalog.clone();
        let end = catalog.end().unwrap().id;
        let mut after = (0..=end).find(|id| catalog.entries_after(*id).unwrap().is_some()).unwrap();
        while let Some(entries) =
            catalog.entries_after(after).unwrap().filter(|all| !all.is_empty())
        {
            for entry in &entries {
                eprintln!("{} of epoch {}: {:?}", entry.id, entry.epoch, entry.change().unwrap());
                after = entry.id;
            }
        }
        catalog
            .versions_after(None, usize::MAX)
            .unwrap()
            .iter()
            .for_each(|held| eprintln!("{held:?}"));
    }

    /// What is still to be done; `None` if nothing is.
    fn trouble(&mut self) -> Option<String> {
        let (at, cluster) = (self.at, self.server().cluster.clone());
        if !self.servers[at].leads() {
            return Some(format!("{:?} only", cluster.roster.leadership().phase()));
        }
        if !self.is_settled(at) {
            let uncertain = cluster.catalog.uncertain().unwrap();
            let in_step = cluster.replication.in_step();
            let gaps = NodeId::ALL.map(|id| cluster.roster.seen(id).has_gap());
            return Some(format!(
                "not settled; uncertain {uncertain:?}, {in_step} in step, gaps {gaps:?}"
            ));
        }
        let up = cluster.roster.up();
        if up != NodeSet::ALL {
            return Some(format!("only {up} is up"));
        }
        let end = cluster.replication.end();
        for id in NodeId::ALL {
            let node = &self.nodes[id.index()];
            let Some(store) = node.store() else { return Some(format!("node {id} has ended")) };
            let journal = store.journal_state().unwrap();
            if journal.end != end || journal.decided != end.id || journal.gap.is_some() {
                return Some(format!("node {id} is at {journal:?} of {end:?}"));
            }
            if let missing @ 1.. = cluster.catalog.missing_count(id).unwrap() {
                return Some(format!("node {id} lacks {missing} pieces"));
            }
            if node.work(100) {
                return Some(format!("node {id} has work to do"));
            }
        }
        if let Some(due) = self.still_due() {
            return Some(due);
        }
        let retired = cluster.catalog.retired(100).unwrap();
        if !retired.is_empty() {
            return Some(format!("{retired:?} are not dropped"));
        }
        NodeId::ALL.into_iter().find_map(|id| {
            let unknown = self.pieces_on(id).difference(&self.pieces_of(id)).count();
            (unknown > 0).then(|| format!("node {id} has {unknown} blocks of no version"))
        })
    }

    /// The block files that lie on a node.
    fn pieces_on(&self, id: NodeId) -> BTreeSet<PathBuf> {
        let folder = Path::new(ROOT).join(".palk/pieces");
        let names = self.nodes[id.index()].disk().names().into_iter();
        let blocks = names.filter(|(path, file)| file.is_some() && path.starts_with(&folder));
        blocks.map(|(path, _)| path).collect()
    }

    /// Those that the catalog of the server of the moment places there.
    fn pieces_of(&self, id: NodeId) -> BTreeSet<PathBuf> {
        let catalog = &self.servers[self.at].cluster.catalog;
        let held = catalog.versions_after(None, usize::MAX).unwrap();
        let placed = held.into_iter().filter(|held| held.placed.contains(id));
        placed
            .flat_map(|held| id.blocks().map(|block| piece_at(held.version, block.name())))
            .collect()
    }

    /// With all nodes there, whoever reads comes to the end, whatever has become of the file.
    fn finish_slow_readers(&mut self) {
        let Some(at) = (0..self.servers.len()).find(|at| self.is_settled(*at)) else { return };
        self.at = at;
        self.pass(A_WHILE);
        let goes_on = self.guarded(|world| (0..4).for_each(|_| world.attend()));
        if !goes_on || !self.is_settled(at) {
            return;
        }
        let up = self.servers[at].cluster.roster.up();
        for reader in std::mem::take(&mut self.servers[at].readers) {
            let (user, path) = (reader.user, reader.path.clone());
            if let Err(error) = reader.finish() {
                panic!("{user}/{path}: a slow reader is cut off with {up} up: {error}");
            }
        }
    }

    fn check_whole(&mut self) {
        let state = self.server().state();
        let latest_us = self.site.clock.latest_us();
        self.model.settle(&state, latest_us, "the last server");
        let pair = PAIRS[self.random.random_range(0..PAIRS.len())];
        self.check_reading(pair, &state);
        self.check_pairs();
        self.check_journals();
        self.check_disks(&state.trees);
        self.check_nothing_kept(&state);
        let own = self.dump(&self.servers[self.at].cluster.catalog.clone());
        self.check_recoverable(pair, &own);
    }

    /// All that is in a catalog, as the changes that make it from nothing.
    pub(crate) fn dump(&self, catalog: &Catalog) -> BTreeSet<String> {
        let path = self.site.folder.join("dump");
        let head = catalog.snapshot(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        let (mut at, mut all) = (0, BTreeSet::new());
        for _ in 0..head.chunks {
            let (chunk, length) = snapshot::read_frame(&bytes[at..]).unwrap().unwrap();
            at += length;
            let changes = snapshot::decode_chunk(chunk).unwrap();
            all.extend(changes.into_iter().map(|change| format!("{change:?}")));
        }
        all
    }

    /// The same content of every version that is a file's or is kept from every pair of nodes, without a
    /// server; of a large one from two pairs, which are all nodes.
    fn check_pairs(&mut self) {
        let catalog = self.server().cluster.catalog.clone();
        let stores: Vec<_> = self.nodes.iter().map(|node| node.store().unwrap()).collect();
        for Surveyed { place, record } in catalog.files_after(None, usize::MAX).unwrap() {
            let layout = Layout::new(record.bytes);
            let some = self.random.random_range(0..PAIRS.len());
            let of_large = [PAIRS[some], PAIRS[PAIRS.len() - 1 - some]];
            let pairs = if record.bytes > LARGE_BYTES { &of_large[..] } else { &PAIRS[..] };
            let mut got = vec![Vec::new(); pairs.len()];
            for stripe in 0..layout.stripe_count() {
                let bodies: Vec<Vec<u8>> = stores
                    .iter()
                    .map(|store| {
                        let mut body = Vec::new();
                        let mut piece = store.open_piece(record.version);
                        let units = piece.units(stripe, Select::Both, &mut body);
                        units.unwrap_or_else(|error| panic!("{place:?}: {error}"));
                        body
                    })
                    .collect();
                let mut data = vec![0; 4 * layout.unit_bytes(stripe)];
                for (pair, got) in pairs.iter().zip(&mut got) {
                    let units = pair.map(|at| bodies[at].split_at(bodies[at].len() / 2).into());
                    kernel::decode(pair.map(|at| NodeId::ALL[at]), units, &mut data);
                    got.extend_from_slice(&data[..layout.file_bytes_in(stripe)]);
                }
            }
            for (pair, got) in pairs.iter().zip(got) {
                // An extent is a version, too.
                let is_right = part(&got) == Part { blake3: record.blake3, bytes: record.bytes };
                assert!(is_right, "{place:?} from nodes {pair:?}: wrong bytes");
            }
        }
    }

    /// Two nodes hang, and the server reads everything from the other two.
    fn check_reading(&mut self, pair: [usize; 2], state: &State) {
        for which in (0..4).filter(|which| !pair.contains(which)) {
            self.nodes[which].machine().process = Process::Hung;
        }
        for (user, tree) in &state.trees {
            for (path, item) in tree {
                let Item::File { blake3, .. } = item else { continue };
                let (files, owner) = (self.server().files.clone(), self.user(user).unwrap());
                let mut bytes = Vec::new();
                let mut retrieve = files
                    .retrieve(&owner, &file(path), None)
                    .unwrap_or_else(|error| panic!("{user}/{path} from nodes {pair:?}: {error}"));
                while let Some(parts) = retrieve.next_part().unwrap() {
                    parts.iter().for_each(|part| bytes.extend_from_slice(part));
                }
                assert!(bytes == *self.site.contents.of(*blake3), "{user}/{path}: wrong bytes");
            }
        }
        self.check_reading_snapshots(state);
        (0..4).for_each(|which| self.nodes[which].machine().process = Process::Running);
        self.settle_down();
    }

    /// All nodes have one journal, and it is the catalog's.
    fn check_journals(&mut self) {
        let catalog = self.server().cluster.catalog.clone();
        let end = catalog.end().unwrap();
        for id in NodeId::ALL {
            let store = self.nodes[id.index()].store().unwrap();
            assert_eq!(store.journal_state().unwrap().end, end, "node {id}");
            for entry in 1..=end.id {
                let [own, other] = [store.point_at(entry), catalog.point_at(entry)];
                let (Some(own), Some(other)) = (own.unwrap(), other.unwrap()) else { continue };
                assert_eq!(own, other, "entry {entry} of node {id}");
            }
        }
    }

    /// Exactly the pieces that the catalog knows lie on every node, and exactly the names of what there
    /// is in its view, each leading to the right piece.
    fn check_disks(&mut self, shown: &Trees) {
        let catalog = self.server().cluster.catalog.clone();
        for held in catalog.versions_after(None, usize::MAX).unwrap() {
            assert!(held.placed == NodeSet::ALL, "{held:?}");
        }
        for id in NodeId::ALL {
            assert_eq!(self.pieces_on(id), self.pieces_of(id), "the pieces on node {id}");
            if self.nodes[id.index()].disk().has_links() {
                self.check_view(id, shown);
            }
        }
    }

    /// The server that is left begins with any of the catalogs that there are.
    fn choose_last_server(&mut self) {
        let mut catalogs: Vec<PathBuf> =
            self.servers.iter().map(|server| server.database.clone()).collect();
        catalogs.push(self.database.clone());
        if self.may_lose_votes() {
            catalogs.extend(self.catalog_copies.iter().cloned());
        } else {
            catalogs.truncate(1);
        }
        let chosen = catalogs[self.random.random_range(0..catalogs.len())].clone();
        if self.lost.is_none() {
            self.servers.clear();
            self.database = self.site.copy_of(&chosen);
        }
    }
}

pub(crate) fn piece_at(version: VersionId, block: &str) -> PathBuf {
    let id = version.to_string();
    Path::new(ROOT).join(".palk/pieces").join(&id[..2]).join(format!("{id}_{block}"))
}

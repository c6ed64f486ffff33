//! The journal and the catalog's snapshots over four real block stores, without sockets or threads: a
//! change is on the nodes at its answer, what becomes of it when files are cut off or damaged, servers
//! that take over from each other, and that a catalog comes back from it.

#[allow(dead_code)] // another test has the crashes
#[path = "sim/disk.rs"]
mod disk;
#[path = "support/local.rs"]
mod local;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use disk::SimDisk;
use local::LocalNode;
use palk::core::catalog::Catalog;
use palk::core::cluster::node::Node;
use palk::core::cluster::recover::{self, Nodes, Report};
use palk::core::cluster::roster::Clock;
use palk::core::cluster::{Cluster, Fanout};
use palk::core::code::checksum;
use palk::core::error::{Code, Result};
use palk::core::io::disk::{Disk, RealDisk};
use palk::core::io::random::Random;
use palk::core::node::store::BlockStore;
use palk::core::path::UserName;
use palk::core::types::{Claim, ClusterId, NodeId, NodeSet, ServerId};
use palk::core::wire::journal::{Entry, Point};
use palk::core::wire::node::Append;
use palk::core::wire::snapshot::{SnapshotReply, SnapshotRequest, read_frame};

const CLUSTER: ClusterId = ClusterId([9; 16]);

fn set(nodes: &[u8]) -> NodeSet {
    NodeId::ALL.into_iter().filter(|id| nodes.contains(&id.number())).collect()
}

/// Every set of so many nodes.
fn sets(size: usize) -> impl Iterator<Item = NodeSet> {
    (0..16).map(NodeSet::from_bits).filter(move |set| set.len() == size)
}

/// Four nodes, and the folder that they and their servers have their files in.
struct House {
    folder: tempfile::TempDir,
    nodes: [Arc<LocalNode>; 4],
}

fn house() -> House {
    house_on(|_| (Arc::new(RealDisk), None))
}

/// On these disks; a node's folder is below the house's unless it is named.
fn house_on(disk: impl Fn(NodeId) -> (Arc<dyn Disk>, Option<PathBuf>)) -> House {
    let folder = tempfile::tempdir().unwrap();
    let nodes = NodeId::ALL.map(|id| {
        let (disk, root) = disk(id);
        let root = root.unwrap_or_else(|| root_in(folder.path(), id));
        Arc::new(LocalNode::new(BlockStore::open(disk, &root, id).unwrap()))
    });
    House { folder, nodes }
}

fn root_in(folder: &Path, id: NodeId) -> PathBuf {
    folder.join(format!("files_{id}"))
}

impl House {
    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn files(&self, node: usize) -> Vec<String> {
        let listed = RealDisk.list(&self.path(&format!("files_{node}/backup"))).unwrap();
        listed.into_iter().map(|entry| entry.name).collect()
    }

    fn file(&self, node: usize, name: &str) -> PathBuf {
        self.path(&format!("files_{node}/backup/{name}"))
    }

    /// A node's folder is opened anew, as after a crash.
    fn reopen(&self, id: NodeId) -> BlockStore {
        BlockStore::open(Arc::new(RealDisk), &root_in(self.folder.path(), id), id).unwrap()
    }

    /// A server of this epoch on a catalog of this name, which has reached these nodes.
    fn server(&self, epoch: u64, catalog: &str, hears: NodeSet) -> Server<'_> {
        let path = self.path(catalog);
        let catalog = Arc::new(Catalog::open(&path, CLUSTER).unwrap());
        let claim = Claim { epoch, server: ServerId([u8::try_from(epoch).unwrap(); 16]) };
        let random = Arc::new(Random::seeded(epoch));
        let copy = self.path("snapshot");
        let links =
            self.nodes.each_ref().map(|node| Arc::new(node.seen_by(claim)) as Arc<dyn Node>);
        let clock = Some(Box::new(|| Duration::ZERO) as Clock);
        let cluster =
            Cluster::new(catalog, links, claim, &random, Fanout::Inline, clock, copy).unwrap();
        let server = Server { house: self, cluster, claim };
        server.switch(hears);
        server.cluster.take_up.round();
        server
    }

    fn recover(&self, from: NodeSet) -> Result<(Catalog, Report)> {
        let nodes: Nodes = NodeId::ALL.map(|id| {
            let node = self.nodes[id.index()].clone();
            from.contains(id).then_some(node as Arc<dyn Node>)
        });
        let survey = recover::survey(&nodes)?;
        let path = self.path("recovered.db");
        let report = recover::recover(&nodes, &survey, &path, &[const { None }; 4])?;
        Ok((Catalog::open(&path, ClusterId([0; 16])).unwrap(), report))
    }

    /// The last entry of each node's journal.
    fn ends(&self) -> [Point; 4] {
        self.nodes.clone().map(|node| node.store().journal_state().unwrap().end)
    }
}

struct Server<'a> {
    house: &'a House,
    cluster: Cluster,
    claim: Claim,
}

impl Server<'_> {
    /// Exactly these nodes are on, and the server has said hello to them and knows it.
    fn switch(&self, on: NodeSet) {
        self.cut(on);
        let decided = self.cluster.replication.decided();
        for id in NodeId::ALL {
            if on.contains(id) {
                let store = self.house.nodes[id.index()].store();
                let _ = store.register(CLUSTER, self.claim, Duration::ZERO);
            }
            let alive = self.cluster.roster.node(id).ping(decided);
            if let Ok(alive) = &alive {
                self.cluster.roster.note_alive(id, alive);
            }
            let _ = self.cluster.roster.heard(id, alive);
        }
    }

    /// Exactly these nodes are on, and the server has not noticed.
    fn cut(&self, on: NodeSet) {
        for node in &self.house.nodes {
            node.off.store(!on.contains(node.id()), Ordering::SeqCst);
        }
    }

    fn sign_up(&self, name: &str) -> Result<()> {
        let name = UserName::parse(name).unwrap();
        self.cluster.committer.submit(move |draft| draft.create_user(&name, "no hash", 0)).map(drop)
    }

    /// What senders and the rest would do by and by.
    fn catch_up(&self, now: u64) {
        for _ in 0..3 {
            for id in NodeId::ALL {
                while self.cluster.replication.round(id) {}
            }
            self.cluster.snapshots.round(Duration::from_secs(now));
        }
    }

    fn snapshot(&self, now: u64) -> NodeSet {
        self.cluster.snapshots.snapshot_now(Duration::from_secs(now)).unwrap().0
    }

    fn end(&self) -> Point {
        self.cluster.catalog.end().unwrap()
    }
}

/// The accounts of a catalog.
fn accounts(catalog: &Catalog) -> Vec<String> {
    catalog.users().unwrap().into_iter().map(|user| user.name.as_str().to_owned()).collect()
}

fn change(path: &Path, how: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    how(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

// ---- what is answered is on the nodes ----

#[test]
fn a_change_is_on_every_node_at_its_answer_and_comes_back_from_any_two() {
    let house = house();
    let server = house.server(1, "palk.db", NodeSet::ALL);
    server.sign_up("one").unwrap();
    assert_eq!(house.ends(), [server.end(); 4]);
    server.sign_up("two").unwrap();
    assert_eq!(house.ends(), [server.end(); 4]);
    for pair in sets(2) {
        let (catalog, report) = house.recover(pair).unwrap();
        assert_eq!(accounts(&catalog), ["one", "two"]);
        assert_eq!((catalog.cluster(), catalog.end().unwrap()), (CLUSTER, server.end()));
        assert!(report.damaged.is_empty(), "{report:?}");
    }
}

#[test]
fn three_nodes_are_enough_and_two_are_not() {
    let house = house();
    let server = house.server(1, "palk.db", NodeSet::ALL);
    for away in NodeId::ALL {
        let mut three = NodeSet::ALL;
        three.remove(away);
        server.switch(three);
        server.sign_up(&format!("without{away}")).unwrap();
        server.switch(NodeSet::ALL);
        server.catch_up(1);
        assert_eq!(house.ends(), [server.end(); 4], "it has been brought up to date");
    }
    server.switch(set(&[2, 3]));
    let refused = server.sign_up("refused").unwrap_err();
    assert_eq!(refused.code(), Code::TooFewNodes, "{refused}");
    assert!(refused.to_string().contains("node 1 (switched off), node 4 (switched off)"));
    server.switch(NodeSet::ALL);
    assert_eq!(accounts(&server.cluster.catalog).len(), 4, "it was certainly not made");
}

#[test]
fn a_change_that_two_nodes_have_is_in_doubt_until_three_have_it() {
    let house = house();
    let server = house.server(1, "palk.db", NodeSet::ALL);
    server.sign_up("before").unwrap();
    server.cut(set(&[1, 4]));
    let told = server.sign_up("doubtful").unwrap_err();
    assert_eq!(told.code(), Code::InDoubt, "{told}");
    assert!(server.cluster.committer.is_in_doubt());
    assert_eq!(accounts(&server.cluster.catalog), ["before"], "nobody sees it yet");
    server.switch(set(&[1, 4]));
    assert_eq!(server.sign_up("later").unwrap_err().code(), Code::TooFewNodes);
    server.switch(set(&[1, 2, 4]));
    server.cluster.committer.settle();
    assert!(!server.cluster.committer.is_in_doubt());
    assert_eq!(accounts(&server.cluster.catalog), ["before", "doubtful"]);
    server.sign_up("later").unwrap();
    server.switch(NodeSet::ALL);
    server.catch_up(1);
    assert_eq!(house.ends(), [server.end(); 4]);
}

// ---- servers that take over from each other ----

/// A change that was appended on some nodes only, by a server that then died: whoever leads next has
/// it, or has certainly given it up, and all nodes agree with that one.
#[test]
fn a_tail_that_was_never_answered_is_taken_up_or_given_up_everywhere() {
    for had in (0..=2).flat_map(sets) {
        for hears in [3, 4].into_iter().flat_map(sets) {
            let house = house();
            let first = house.server(1, "first.db", NodeSet::ALL);
            first.sign_up("answered").unwrap();
            first.cut(had);
            // It believes that all are there, so what it cannot reach leaves the change in doubt.
            assert!(first.sign_up("doubtful").is_err());
            drop(first);

            let second = house.server(2, "second.db", hears);
            let what = format!("{had} had it, {hears} are heard");
            assert!(second.cluster.roster.leadership().is_established(), "{what}");
            let known = accounts(&second.cluster.catalog);
            let taken_up = known == ["answered", "doubtful"];
            assert!(taken_up || known == ["answered"], "{what}: {known:?}");
            assert_eq!(taken_up, !had.and(hears).is_empty(), "{what}");
            second.sign_up("next").unwrap();
            second.switch(NodeSet::ALL);
            second.catch_up(1);
            assert_eq!(house.ends(), [second.end(); 4], "{what}");
            for pair in sets(2) {
                let (catalog, _) = house.recover(pair).unwrap();
                assert_eq!(accounts(&catalog), accounts(&second.cluster.catalog), "{what}");
            }
        }
    }
}

#[test]
fn a_server_that_was_taken_over_decides_nothing_any_more() {
    let house = house();
    let first = house.server(1, "first.db", NodeSet::ALL);
    first.sign_up("one").unwrap();
    let second = house.server(2, "second.db", set(&[1, 2, 3]));
    // The first still reaches all of them, and three refuse it.
    first.switch(NodeSet::ALL);
    assert!(first.sign_up("ofthefirst").is_err());
    second.switch(set(&[1, 2, 3]));
    second.sign_up("two").unwrap();
    assert_eq!(accounts(&second.cluster.catalog), ["one", "two"]);
    second.cut(NodeSet::ALL);
    let (catalog, _) = house.recover(set(&[2, 4])).unwrap();
    assert_eq!(accounts(&catalog), ["one", "two"]);
}

#[test]
fn a_catalog_that_was_put_back_is_brought_up_to_date_by_the_nodes() {
    for snapshots in [0, 2] {
        let house = house();
        let server = house.server(1, "palk.db", NodeSet::ALL);
        server.sign_up("one").unwrap();
        drop(server);
        for name in ["palk.db", "palk.db-wal"] {
            if house.path(name).exists() {
                std::fs::copy(house.path(name), house.path(&name.replace("palk", "old"))).unwrap();
            }
        }
        let server = house.server(2, "palk.db", NodeSet::ALL);
        server.sign_up("two").unwrap();
        for now in 0..snapshots {
            server.sign_up(&format!("three{now}")).unwrap();
            assert_eq!(server.snapshot(now), NodeSet::ALL);
        }
        server.sign_up("last").unwrap();
        let expected = accounts(&server.cluster.catalog);
        drop(server);

        let server = house.server(3, "old.db", set(&[1, 4]));
        assert_eq!(accounts(&server.cluster.catalog), expected, "read from two of them");
        assert!(!server.cluster.roster.leadership().is_established());
        drop(server);
        let server = house.server(4, "old.db", set(&[1, 2, 4]));
        assert!(server.cluster.roster.leadership().is_established());
        server.sign_up("zz").unwrap();
        server.switch(NodeSet::ALL);
        let (catalog, _) = house.recover(set(&[2, 3])).unwrap();
        assert_eq!(accounts(&catalog).last().unwrap(), "zz");
    }
}

// ---- nodes that were away ----

#[test]
fn a_node_that_was_away_longer_than_the_journal_reaches_gets_a_snapshot() {
    let house = house();
    let server = house.server(1, "palk.db", NodeSet::ALL);
    server.sign_up("one").unwrap();
    let three = set(&[1, 2, 3]);
    server.switch(three);
    for (now, name) in [(0, "two"), (10, "three"), (20, "four")] {
        server.sign_up(name).unwrap();
        assert_eq!(server.snapshot(now), three);
    }
    server.sign_up("five").unwrap();
    drop(server);
    // One that has nothing of it in memory any more.
    let server = house.server(2, "palk.db", three);
    server.switch(NodeSet::ALL);
    server.catch_up(100);
    assert_eq!(house.ends(), [server.end(); 4]);
    let state = house.nodes[3].store().journal_state().unwrap();
    assert!(state.gap.is_some(), "which pieces it lacks has to be found out: {state:?}");
    assert!(house.files(4).iter().any(|name| name.starts_with("snapshot-")));
    let (catalog, _) = house.recover(set(&[3, 4])).unwrap();
    assert_eq!(accounts(&catalog).len(), 5);
}

#[test]
fn an_emptied_node_has_a_gap_until_that_is_closed_by_its_number() {
    let house = house();
    let server = house.server(1, "palk.db", NodeSet::ALL);
    for node in &house.nodes {
        let gap = node.store().journal_state().unwrap().gap.expect("a new node may lack anything");
        node.store().close_gap(gap + 1).unwrap();
        assert_eq!(node.store().journal_state().unwrap().gap, Some(gap), "of another number");
        node.store().close_gap(gap).unwrap();
        assert_eq!(node.store().journal_state().unwrap().gap, None);
    }
    server.sign_up("one").unwrap();
    drop(server);
    let id = NodeId::ALL[2];
    assert_eq!(house.reopen(id).journal_state().unwrap().gap, None, "it remembers");
    std::fs::remove_dir_all(root_in(house.folder.path(), id)).unwrap();
    let emptied = house.reopen(id);
    assert!(emptied.journal_state().unwrap().gap.is_some());
    assert_eq!(emptied.journal_state().unwrap().end.id, 0);
}

// ---- files that are cut off or damaged ----

/// The newest segment of a node's journal.
fn newest_segment(house: &House, node: usize) -> PathBuf {
    let names = house.files(node);
    let of = |name: &String| palk::core::wire::snapshot::parse_segment_name(name);
    let newest = names.iter().filter(|name| of(name).is_some()).max_by_key(|name| of(name));
    house.file(node, newest.unwrap())
}

#[test]
fn a_torn_journal_is_cut_and_goes_on() {
    let house = house();
    let server = house.server(1, "palk.db", NodeSet::ALL);
    for name in ["one", "two", "three"] {
        server.sign_up(name).unwrap();
    }
    let end = server.end();
    let entries: Vec<Entry> = server.cluster.catalog.entries_after(end.id - 2).unwrap().unwrap();
    let before: Vec<Point> = entries.iter().map(Entry::point).collect();
    let path = newest_segment(&house, 1);
    let whole = std::fs::read(&path).unwrap();
    // Cut anywhere in the last entry, with or without the zeros that a crash may leave.
    for (cut, zeros) in [(1, 0), (40, 0), (40, 100), (5, 5)] {
        change(&path, |bytes| {
            *bytes = whole[..whole.len() - cut].to_vec();
            bytes.extend(vec![0; zeros]);
        });
        let again = house.reopen(NodeId::ALL[0]);
        assert_eq!(again.journal_state().unwrap().end, before[0], "cut by {cut}");
        let append = |prev: Point, entries: &[Entry]| {
            let (entries, pieces) = (entries.to_vec(), Vec::new());
            again.append(&Append { prev, decided: end.id, entries, pieces }, &[])
        };
        // What does not fit behind its end is not taken; what it has already is.
        assert_eq!(append(end, &[]).unwrap().end, before[0]);
        assert_eq!(append(before[0], &entries[1..]).unwrap().end, end);
        assert_eq!(append(before[0], &entries[1..]).unwrap().end, end, "once more");
        assert!(std::fs::read(&path).unwrap() == whole, "cut by {cut}");
    }
}

#[test]
fn an_entry_that_does_not_follow_or_is_beyond_a_limit_is_not_taken() {
    let house = house();
    let server = house.server(1, "palk.db", NodeSet::ALL);
    server.sign_up("one").unwrap();
    let (store, end) = (house.nodes[0].store(), server.end());
    let append = |prev: Point, entries: Vec<Entry>| {
        store.append(&Append { prev, decided: 0, entries, pieces: Vec::new() }, &[])
    };
    let next = Entry::after(end, 1, 0, vec![7]);
    let mut forged = next.clone();
    forged.record.push(8);
    for (prev, entry) in [(end, forged), (next.point(), next.clone())] {
        if let Ok(state) = append(prev, vec![entry]) {
            assert_eq!(state.end, end);
        }
        assert_eq!(store.journal_state().unwrap().end, end);
    }
    // What is decided is never given up, whatever a server says.
    store.decided(end.id);
    let other = Entry::after(Point::start(CLUSTER), 9, 0, vec![1]);
    if let Ok(state) = append(Point::start(CLUSTER), vec![other]) {
        assert_eq!(state.end, end);
    }
    assert_eq!(store.journal_state().unwrap().end, end);
}

#[test]
fn the_last_two_snapshots_are_kept() {
    let house = house();
    let server = house.server(1, "palk.db", NodeSet::ALL);
    let mut at = Vec::new();
    for (now, name) in [(0, "one"), (10, "two"), (20, "three")] {
        server.sign_up(name).unwrap();
        assert_eq!(server.snapshot(now), NodeSet::ALL);
        at.push(server.end());
    }
    for node in 1..=4 {
        let files = house.files(node);
        let kept: Vec<&String> =
            files.iter().filter(|name| name.starts_with("snapshot-")).collect();
        let expected = [&at[1], &at[2]].map(|at| format!("snapshot-{}-{}", at.epoch, at.id));
        assert_eq!(kept, expected.iter().collect::<Vec<_>>(), "{files:?}");
    }
    // Nothing has changed: they have it already.
    assert_eq!(server.snapshot(30), NodeSet::ALL);
    let snapshots = |node| house.files(node).iter().filter(|n| n.starts_with("snapshot-")).count();
    assert!((1..=4).all(|node| snapshots(node) == 2));
}

#[test]
fn a_damaged_snapshot_gives_way_to_an_older_one_and_the_journal() {
    let house = house();
    let server = house.server(1, "palk.db", NodeSet::ALL);
    server.sign_up("one").unwrap();
    assert_eq!(server.snapshot(0), NodeSet::ALL);
    server.sign_up("two").unwrap();
    assert_eq!(server.snapshot(10), NodeSet::ALL);
    server.sign_up("three").unwrap();
    let newest = |node: usize| {
        let names = house.files(node);
        let of = |name: &String| palk::core::wire::snapshot::parse_snapshot_name(name);
        let newest = names.iter().filter(|name| of(name).is_some()).max_by_key(|name| of(name));
        house.file(node, newest.unwrap())
    };
    // The newest is cut off on one node and has a wrong byte on the other.
    change(&newest(1), |bytes| bytes.truncate(bytes.len() - 1));
    change(&newest(2), |bytes| {
        let at = bytes.len() - 5;
        bytes[at] ^= 1;
    });
    for from in [set(&[1, 2]), set(&[1, 3]), NodeSet::ALL] {
        let (catalog, report) = house.recover(from).unwrap();
        assert_eq!(accounts(&catalog), ["one", "three", "two"], "{from}: {report:?}");
    }
}

#[test]
fn a_full_disk_keeps_what_it_has_and_holds_up_nobody() {
    let disks = NodeId::ALL.map(|id| SimDisk::new(u64::from(id.number())));
    let house = house_on(|id| (Arc::new(disks[id.index()].clone()), Some("/files".into())));
    let server = house.server(1, "palk.db", NodeSet::ALL);
    server.sign_up("one").unwrap();
    let before = server.end();
    disks[1].leave_free(Some(0));
    server.sign_up("two").unwrap();
    assert_eq!(house.ends().map(|end| end == server.end()), [true, false, true, true]);
    assert_eq!(house.ends()[1], before);
    disks[1].leave_free(None);
    server.switch(NodeSet::ALL);
    server.catch_up(100);
    assert_eq!(house.ends(), [server.end(); 4]);
}

// ---- snapshots on their way ----

#[test]
fn a_part_that_is_lost_or_garbled_on_its_way_is_no_snapshot() {
    let house = house();
    let server = house.server(1, "palk.db", NodeSet::ALL);
    server.sign_up("one").unwrap();
    let head = server.cluster.catalog.snapshot(&house.path("copy")).unwrap();
    let bytes = std::fs::read(house.path("copy")).unwrap();
    let mut chunks = Vec::new();
    let mut at = 0;
    while let Ok(Some((content, length))) = read_frame(&bytes[at..]) {
        chunks.push(content.to_vec());
        at += length;
    }
    assert_eq!((at, chunks.len() as u64), (bytes.len(), head.chunks));
    let store = house.nodes[0].store();
    let ask = |cluster: ClusterId, request: SnapshotRequest, body: &[u8]| {
        store.snapshot(Some(cluster), &request, body, &mut Vec::new())
    };
    let chunk =
        |index: u64, of: &[u8]| SnapshotRequest::Chunk { index, checksum: checksum::unit(of) };
    let heads = || match ask(CLUSTER, SnapshotRequest::List, &[]).unwrap() {
        SnapshotReply::Heads(heads) => heads,
        other => panic!("{other:?}"),
    };
    assert!(ask(CLUSTER, chunk(0, &chunks[0]), &chunks[0]).is_err(), "none has begun");
    for wrong in 0..4 {
        ask(CLUSTER, SnapshotRequest::Begin(head), &[]).unwrap();
        let ended = match wrong {
            0 => ask(CLUSTER, SnapshotRequest::End, &[]),
            1 => ask(CLUSTER, chunk(1, &chunks[0]), &chunks[0]),
            2 => ask(CLUSTER, chunk(0, &chunks[0]), b"something else"),
            _ => ask(CLUSTER, SnapshotRequest::Read { at: head.at, index: 0 }, &[]),
        };
        assert!(ended.is_err(), "case {wrong}");
        assert!(heads().is_empty());
    }
    let other = ClusterId([1; 16]);
    assert!(ask(other, SnapshotRequest::Begin(head), &[]).is_err(), "another cluster's");

    ask(CLUSTER, SnapshotRequest::Begin(head), &[]).unwrap();
    for (index, content) in (0..).zip(&chunks) {
        ask(CLUSTER, chunk(index, content), content).unwrap();
    }
    ask(CLUSTER, SnapshotRequest::End, &[]).unwrap();
    assert_eq!(heads(), [head]);
    for (index, content) in (0..).zip(&chunks) {
        let mut out = Vec::new();
        let request = SnapshotRequest::Read { at: head.at, index };
        let reply = store.snapshot(Some(CLUSTER), &request, &[], &mut out).unwrap();
        assert_eq!((reply, &out), (SnapshotReply::Chunk, content));
    }
}

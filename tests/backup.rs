//! The catalog's backup over four real block stores, without sockets or threads: what the nodes are
//! given, what becomes of it when it is cut off or damaged, and that a catalog comes back from it.

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
use palk::core::catalog::accounts::HashGate;
use palk::core::catalog::{Catalog, NewFile, Quota, Report, Ticket, UserState};
use palk::core::cluster::backup::Backups;
use palk::core::cluster::node::Node;
use palk::core::cluster::recover::{self, Nodes};
use palk::core::cluster::roster::Roster;
use palk::core::code::checksum;
use palk::core::code::layout::Layout;
use palk::core::error::Code;
use palk::core::io::disk::{Disk, RealDisk};
use palk::core::io::random::Random;
use palk::core::node::store::BlockStore;
use palk::core::path::{FilePath, UserName};
use palk::core::types::{
    Claim, ClusterId, Digest, NodeId, NodeSet, Precondition, ServerId, VersionId,
};
use palk::core::wire::backup::{Answer, Ask, State};
use palk::core::wire::node::{PieceMeta, Place};

const CLUSTER: ClusterId = ClusterId([9; 16]);

const CLAIM: Claim = Claim { epoch: 1, server: ServerId([1; 16]) };

/// What a node's backup is.
fn state(node: &LocalNode) -> Option<State> {
    match node.store.backup().ask(Some(CLUSTER), &Ask::State, &[], &mut Vec::new()) {
        Ok(Answer::State(state)) => state,
        other => panic!("{other:?}"),
    }
}

/// A server's catalog and four nodes.
struct Fixture {
    folder: tempfile::TempDir,
    nodes: Vec<Arc<LocalNode>>,
    catalog: Arc<Catalog>,
    roster: Arc<Roster>,
    backups: Backups,
    gate: HashGate,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    fixture_in(folder, |_| (Arc::new(RealDisk), None))
}

/// With these disks; a node's folder is below the fixture's unless it is named.
fn fixture_in(
    folder: tempfile::TempDir,
    disk: impl Fn(NodeId) -> (Arc<dyn Disk>, Option<PathBuf>),
) -> Fixture {
    let nodes = NodeId::ALL.map(|id| {
        let (disk, root) = disk(id);
        let root = root.unwrap_or_else(|| folder.path().join(format!("files_{id}")));
        let store = BlockStore::open(disk, &root, id).unwrap();
        store.register(CLUSTER, CLAIM, Duration::ZERO).unwrap();
        Arc::new(LocalNode::new(store))
    });
    let catalog = Arc::new(Catalog::open(&folder.path().join("palk.db"), CLUSTER).unwrap());
    let roster = Arc::new(Roster::new(nodes.clone().map(|node| node as Arc<dyn Node>)));
    let random = Arc::new(Random::seeded(1));
    let copy = folder.path().join("snapshot");
    let backups = Backups::new(catalog.clone(), roster.clone(), random, copy);
    let nodes = nodes.to_vec();
    let f = Fixture { folder, nodes, catalog, roster, backups, gate: HashGate::default() };
    f.switch(NodeSet::ALL);
    f
}

impl Fixture {
    fn switch(&self, on: NodeSet) {
        for node in &self.nodes {
            node.off.store(!on.contains(node.id()), Ordering::SeqCst);
            let _ = self.roster.heard(node.id(), node.ping());
        }
    }

    fn sign_up(&self, name: &str) {
        let name = UserName::parse(name).unwrap();
        self.catalog.create_user(&self.gate, &name, "pw", 0).unwrap();
    }

    /// The senders' rounds, until they have nothing more to do.
    fn back_up(&self, now: u64) {
        for id in NodeId::ALL {
            while self.backups.round(id, Duration::from_secs(now)) {}
        }
    }

    /// How many entries each node lacks.
    fn behind(&self) -> [Option<u64>; 4] {
        self.backups.progress().map(|progress| progress.behind)
    }

    fn files(&self, node: usize) -> Vec<String> {
        let folder = self.folder.path().join(format!("files_{node}/backup"));
        let listed = RealDisk.list(&folder).unwrap();
        listed.into_iter().map(|entry| entry.name).collect()
    }

    fn file(&self, node: usize, name: &str) -> PathBuf {
        self.folder.path().join(format!("files_{node}/backup/{name}"))
    }

    fn recover(&self, from: &[usize]) -> (Catalog, Report) {
        let nodes: Nodes = NodeId::ALL.map(|id| {
            let node = self.nodes[id.index()].clone();
            from.contains(&usize::from(id.number())).then_some(node as Arc<dyn Node>)
        });
        let survey = recover::survey(&nodes).unwrap();
        let path = self.folder.path().join("recovered.db");
        let random = Random::seeded(2);
        let report =
            recover::recover(&nodes, &survey, &path, &random, &[const { None }; 4]).unwrap();
        (Catalog::open(&path, ClusterId([0; 16])).unwrap(), report)
    }

    fn knows(&self, catalog: &Catalog, name: &str) -> bool {
        catalog.sign_in(&self.gate, name, "pw", ()).is_ok()
    }
}

fn change(path: &Path, how: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    how(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn every_node_is_given_a_snapshot_and_then_what_changes() {
    let f = fixture();
    f.sign_up("one");
    assert_eq!(f.behind(), [None; 4]);
    f.back_up(0);
    assert_eq!(f.behind(), [Some(0); 4]);
    assert_eq!(f.files(1), ["journal-0-1", "snapshot-0-1"]);
    f.sign_up("two");
    // Within the same second nothing is sent again.
    f.back_up(0);
    assert_eq!(state(&f.nodes[0]).unwrap().last.id, 1);
    f.back_up(1);
    assert!(f.nodes.iter().all(|node| state(node).unwrap().last.id == 2));
    assert_eq!(f.files(1), ["journal-0-1", "snapshot-0-1"], "no new snapshot for that");
    for from in [&[1, 2, 3, 4][..], &[1, 3], &[4, 2]] {
        let (catalog, report) = f.recover(from);
        assert!(f.knows(&catalog, "one") && f.knows(&catalog, "two"));
        assert!(catalog.sign_in(&f.gate, "two", "other", ()).is_err());
        assert_eq!(catalog.cluster(), CLUSTER);
        assert_eq!((report.from_journal, report.contents.accounts), (1, 2));
        assert!(report.unrecovered.is_empty() && report.damaged.is_empty(), "{report:?}");
    }
}

#[test]
fn a_node_that_was_away_is_brought_up_to_date() {
    let f = fixture();
    f.sign_up("one");
    f.back_up(0);
    f.switch(NodeSet::from_bits(0b0111));
    f.sign_up("two");
    f.back_up(2);
    assert_eq!(state(&f.nodes[3]).unwrap().last.id, 1);
    f.switch(NodeSet::ALL);
    f.back_up(4);
    assert_eq!(state(&f.nodes[3]).unwrap().last.id, 2);
    assert_eq!(f.files(4), ["journal-0-1", "snapshot-0-1"], "by its journal alone");
    // Away for so long that the journal does not reach back to it.
    f.switch(NodeSet::from_bits(0b0111));
    f.sign_up("three");
    let (have, troubles) = f.backups.backup_now(Duration::from_secs(6)).unwrap();
    assert_eq!(have, NodeSet::from_bits(0b0111));
    assert_eq!(troubles.to_string(), "node 4 (switched off)");
    f.switch(NodeSet::ALL);
    f.back_up(8);
    assert_eq!(state(&f.nodes[3]).unwrap().last.id, 3);
    assert_eq!(f.files(4), ["journal-0-1", "journal-0-3", "snapshot-0-1", "snapshot-0-3"]);
}

#[test]
fn the_last_two_snapshots_are_kept() {
    let f = fixture();
    for (now, name) in [(0, "one"), (10, "two"), (20, "three")] {
        f.sign_up(name);
        let (have, _) = f.backups.backup_now(Duration::from_secs(now)).unwrap();
        assert_eq!(have, NodeSet::ALL);
    }
    for node in 1..=4 {
        let expected = ["journal-0-2", "journal-0-3", "snapshot-0-2", "snapshot-0-3"];
        assert_eq!(f.files(node), expected);
    }
    // Nothing has changed: they have it already.
    f.backups.backup_now(Duration::from_secs(30)).unwrap();
    assert_eq!(f.files(1).len(), 4);
    // A day later, with a change, there is a new one.
    f.sign_up("four");
    f.back_up(20 + 24 * 60 * 60);
    assert!(f.files(1).contains(&"snapshot-0-4".to_owned()));
}

#[test]
fn a_torn_journal_is_cut_and_goes_on() {
    let f = fixture();
    f.sign_up("one");
    f.back_up(0);
    f.sign_up("two");
    f.sign_up("three");
    f.back_up(2);
    let whole = std::fs::read(f.file(1, "journal-0-1")).unwrap();
    // Cut anywhere in the last entry, with or without the zeros that a crash may leave.
    for (cut, zeros) in [(1, 0), (40, 0), (40, 100), (5, 5)] {
        change(&f.file(1, "journal-0-1"), |bytes| {
            *bytes = whole[..whole.len() - cut].to_vec();
            bytes.extend(vec![0; zeros]);
        });
        let root = f.folder.path().join("files_1");
        let again = BlockStore::open(Arc::new(RealDisk), &root, NodeId::ALL[0]).unwrap();
        let mut out = Vec::new();
        let mut ask = |ask| again.backup().ask(Some(CLUSTER), &ask, &[], &mut out);
        let Ok(Answer::State(Some(state))) = ask(Ask::State) else { panic!() };
        assert_eq!(state.last.id, 2, "cut by {cut}");
        let (snapshot, entries) = (state.snapshot.id(), f.catalog.journal_after(2).unwrap());
        let other = f.catalog.journal_after(1).unwrap();
        assert!(ask(Ask::Append { snapshot, entries: other }).is_err(), "it has that one");
        let Ok(Answer::State(Some(state))) = ask(Ask::Append { snapshot, entries }) else {
            panic!()
        };
        assert_eq!(state.last, f.catalog.journal_end().unwrap());
        assert_eq!(std::fs::read(f.file(1, "journal-0-1")).unwrap(), whole);
    }
}

#[test]
fn a_damaged_snapshot_gives_way_to_an_older_one_and_its_journal() {
    let f = fixture();
    f.sign_up("one");
    f.back_up(0);
    f.sign_up("two");
    f.backups.backup_now(Duration::from_secs(2)).unwrap();
    f.sign_up("three");
    f.back_up(4);
    // The newest is cut off on one node and has a wrong byte on the other.
    change(&f.file(1, "snapshot-0-2"), |bytes| bytes.truncate(bytes.len() - 1));
    change(&f.file(2, "snapshot-0-2"), |bytes| bytes[5000] ^= 1);
    let (catalog, report) = f.recover(&[1, 2]);
    assert!(["one", "two", "three"].iter().all(|name| f.knows(&catalog, name)));
    assert_eq!(report.damaged.len(), 2, "{report:?}");
    assert!(report.damaged[0].contains("backup/snapshot-0-2 is damaged"), "{report:?}");
    assert!(report.unrecovered.is_empty());
    // Another node has a whole one.
    let (_, report) = f.recover(&[1, 3]);
    assert!(report.damaged.len() <= 1 && report.contents.accounts == 3, "{report:?}");
    // All of them: what the journals know from the beginning on is still there.
    for node in [1, 2] {
        change(&f.file(node, "snapshot-0-1"), |bytes| bytes.clear());
    }
    let (catalog, report) = f.recover(&[1, 2]);
    assert_eq!(report.contents.accounts, 0, "nobody has stored anything: {report:?}");
    assert!(!f.knows(&catalog, "three"));
}

#[test]
fn a_full_disk_keeps_what_it_has_and_is_tried_again_calmly() {
    let disks = NodeId::ALL.map(|id| SimDisk::new(u64::from(id.number())));
    let f = fixture_in(tempfile::tempdir().unwrap(), |id| {
        (Arc::new(disks[id.index()].clone()), Some("/files".into()))
    });
    f.sign_up("one");
    f.back_up(0);
    disks[1].leave_free(Some(0));
    f.sign_up("two");
    f.back_up(10);
    let progress = f.backups.progress()[1].clone();
    assert!(progress.trouble.is_some_and(|why| why.contains("no space left")));
    assert_eq!(state(&f.nodes[1]).unwrap().last.id, 1);
    assert!(f.backups.backup_now(Duration::from_secs(11)).unwrap().1.nodes().len() == 1);
    let calls = disks[1].calls();
    f.back_up(30);
    assert_eq!(disks[1].calls(), calls, "it is left alone for a while");
    disks[1].leave_free(None);
    f.back_up(80);
    assert_eq!(f.behind(), [Some(0); 4]);
    assert!(f.nodes.iter().all(|node| state(node).unwrap().last.id == 2));
}

#[test]
fn a_catalog_that_was_put_back_outranks_the_history_that_it_left() {
    let f = fixture();
    f.sign_up("one");
    f.back_up(0);
    // An old copy of the catalog is put in place while the nodes know of more.
    let old = f.folder.path().join("old.db");
    f.catalog.snapshot(&old).unwrap();
    f.sign_up("two");
    f.back_up(2);
    let folder = tempfile::tempdir().unwrap();
    std::fs::copy(&old, folder.path().join("palk.db")).unwrap();
    let catalog = Arc::new(Catalog::open(&folder.path().join("palk.db"), CLUSTER).unwrap());
    let random = Arc::new(Random::seeded(3));
    let copy = folder.path().join("snapshot");
    let backups = Backups::new(catalog.clone(), f.roster.clone(), random, copy);
    let name = UserName::parse("three").unwrap();
    catalog.create_user(&f.gate, &name, "pw", 0).unwrap();
    for id in NodeId::ALL {
        while backups.round(id, Duration::from_secs(5)) {}
    }
    assert!(catalog.generation().unwrap() > 0);
    let (recovered, _) = f.recover(&[1, 2]);
    assert!(f.knows(&recovered, "one") && f.knows(&recovered, "three"));
    assert!(!f.knows(&recovered, "two"), "that history was given up");
    assert!(recovered.generation().unwrap() > catalog.generation().unwrap());
}

#[test]
fn a_part_that_is_lost_or_garbled_on_its_way_is_no_snapshot() {
    let f = fixture();
    f.sign_up("one");
    let head = f.catalog.snapshot(&f.folder.path().join("copy")).unwrap();
    let bytes = std::fs::read(f.folder.path().join("copy")).unwrap();
    assert_eq!(head.bytes, bytes.len() as u64);
    let ask = |ask, body: &[u8]| {
        f.nodes[0].store.backup().ask(Some(CLUSTER), &ask, body, &mut Vec::new())
    };
    let chunk = |offset, body: &[u8]| Ask::Chunk {
        offset,
        checksum: palk::core::code::checksum::unit(body),
    };
    let half = &bytes[..bytes.len() / 2];
    assert!(ask(chunk(0, half), half).is_err(), "none has begun");
    for wrong in 0..4 {
        ask(Ask::Begin(head), &[]).unwrap();
        let ended = match wrong {
            0 => ask(Ask::End, &[]),
            1 => ask(chunk(1, half), half),
            2 => ask(chunk(0, half), &bytes[1..=half.len()]),
            _ => ask(chunk(0, half), half).and_then(|_| ask(Ask::End, &[])),
        };
        assert!(ended.is_err(), "case {wrong}");
        assert_eq!(state(&f.nodes[0]), None);
    }
    let other = Some(ClusterId([1; 16]));
    let begun = f.nodes[0].store.backup().ask(other, &Ask::Begin(head), &[], &mut Vec::new());
    assert!(begun.is_err(), "another cluster's");
}

/// A version of an empty file, staged on nodes 1 to 3 by a store that came no further.
fn stage(f: &Fixture, user: &UserName, version: VersionId) -> Ticket {
    let ticket = f.catalog.begin_store(version).unwrap();
    let path = FilePath::parse_rooted("late").unwrap();
    for node in &f.nodes[..3] {
        let meta = PieceMeta {
            version,
            seq: ticket.seq,
            place: Place { user: user.clone(), path: path.clone() },
            file_bytes: 0,
            stored_ms: 0,
            repair: false,
        };
        let mut stage = node.store.stage(meta).unwrap();
        let unit = vec![0; Layout::new(0).unit_bytes(0)];
        stage.units([&unit, &unit], [checksum::unit(&unit); 2]).unwrap();
        stage.finish(Digest(*blake3::hash(b"").as_bytes())).unwrap();
    }
    ticket
}

#[test]
fn changes_of_accounts_come_back_and_kept_sign_ins_do_not() {
    let f = fixture();
    let [one, two, three] = ["one", "two", "three"].map(|name| UserName::parse(name).unwrap());
    ["one", "two", "three"].iter().for_each(|name| f.sign_up(name));
    let token = Digest([5; 32]);
    f.catalog.add_token(&f.catalog.account(&one).unwrap(), &token, "here", 0).unwrap();
    let user = f.catalog.user_id(&three).unwrap();
    let new = NewFile {
        user,
        path: FilePath::parse_rooted("up/a").unwrap(),
        bytes: 5,
        blake3: Digest([7; 32]),
        stored_ms: 5,
        staged: NodeSet::ALL,
        precondition: Precondition::Any,
        stored_by: String::new(),
    };
    let ticket = f.catalog.begin_store(VersionId([1; 16])).unwrap();
    f.catalog.commit_store(&ticket, &new).unwrap();
    drop(ticket);
    f.back_up(0);

    // What follows is in the journals alone. One store has ended well for its user, as far as the
    // nodes can tell; the other was refused, because its account was removed.
    let _kept = stage(&f, &one, VersionId([2; 16]));
    let _refused = stage(&f, &three, VersionId([3; 16]));
    f.catalog.change_password(&f.gate, &one, ["pw", "new"], None, ()).unwrap();
    f.catalog.set_disabled(&two, true).unwrap();
    f.catalog.set_quota(&two, Quota::Bytes(300)).unwrap();
    f.catalog.begin_removal(&three).unwrap();
    while f.catalog.remove_page(user, 10).unwrap() {}
    f.back_up(2);
    let code = |catalog: &Catalog, name: &str, password: &str| {
        catalog.sign_in(&f.gate, name, password, ()).map(drop).map_err(|error| error.code())
    };
    for from in [&[1, 2, 3, 4][..], &[2, 3], &[4, 1]] {
        let (catalog, report) = f.recover(from);
        assert!(report.unrecovered.is_empty(), "{report:?}");
        assert_eq!((report.contents.accounts, report.contents.folders), (2, 0), "{report:?}");
        assert_eq!(code(&catalog, "one", "new"), Ok(()));
        assert_eq!(code(&catalog, "one", "pw"), Err(Code::SignIn));
        assert!(catalog.sign_in_by_token("one", &token, 0).is_err());
        assert_eq!(code(&catalog, "two", "pw"), Err(Code::Disabled));
        let users = catalog.users().unwrap();
        assert_eq!((users[1].quota, users[1].state), (Quota::Bytes(300), UserState::Disabled));
        assert_eq!(users.len(), 2, "{users:?}");
        assert_eq!(code(&catalog, "three", "pw"), Err(Code::NoSuchUser));
        // On nodes 1 and 4 together there is one staged piece only.
        let from_blocks = u64::from(from != [4, 1]);
        assert_eq!((report.from_blocks, report.contents.files), (from_blocks, from_blocks));
    }

    // Somebody else gets the name, and nothing of what the former one had.
    f.catalog.create_user(&f.gate, &three, "again", 0).unwrap();
    f.catalog.set_disabled(&two, false).unwrap();
    f.catalog.set_password(&f.gate, &two, "other", None).unwrap();
    f.back_up(4);
    let (catalog, report) = f.recover(&[1, 2]);
    assert!(report.unrecovered.is_empty(), "{report:?}");
    assert_eq!((report.contents.accounts, report.contents.files), (3, 1), "{report:?}");
    assert_eq!(code(&catalog, "three", "again"), Ok(()));
    assert_eq!(code(&catalog, "two", "other"), Ok(()));
    let again = catalog.user_id(&three).unwrap();
    assert!(catalog.list(again).unwrap().is_empty());
}

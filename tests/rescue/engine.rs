//! What is rescued from folders on simulated disks: pairs, damage, old versions, disks that fail.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use palk::core::code::layout::Layout;
use palk::core::code::{checksum, kernel};
use palk::core::error::{Code, Error, Result};
use palk::core::io::disk::{Disk, create_folders};
use palk::core::node::rescue::{Folders, Outcome, Refusal, Rescuer, Selected, part_path};
use palk::core::node::store::BlockStore;
use palk::core::path::{FilePath, UserName};
use palk::core::types::{
    Block, Claim, ClusterId, Digest, NodeId, NodeSet, Seq, ServerId, VersionId,
};
use palk::core::wire::journal::{Change, Entry, Point};
use palk::core::wire::node::{Append, PieceMeta, Place};

use crate::disk::SimDisk;
use crate::support::noise;

const PAIRS: [[u8; 2]; 6] = [[1, 2], [1, 3], [1, 4], [2, 3], [2, 4], [3, 4]];
const ALL: [u8; 4] = [1, 2, 3, 4];
const CLUSTER: ClusterId = ClusterId([1; 16]);

/// Four nodes' folders on one disk, and what their journals say.
struct Bench {
    disk: SimDisk,
    stores: Vec<BlockStore>,
    history: Vec<Entry>,
}

fn bench() -> Bench {
    let disk = SimDisk::new(1);
    let claim = Claim { epoch: 1, server: ServerId([1; 16]) };
    let open = |id| {
        let store = BlockStore::open(Arc::new(disk.clone()), &root(u8::from(id)), id).unwrap();
        store.register(CLUSTER, claim, Duration::ZERO).unwrap();
        store
    };
    let stores = NodeId::ALL.into_iter().map(open).collect();
    Bench { disk, stores, history: Vec::new() }
}

fn root(node: u8) -> PathBuf {
    PathBuf::from(format!("/files_{node}"))
}

fn place(path: &str) -> Place {
    Place { user: UserName::parse("demo").unwrap(), path: FilePath::parse_rooted(path).unwrap() }
}

/// Where a block of version `n` lies.
fn piece(n: u8, block: Block) -> String {
    let version = VersionId([n; 16]);
    format!("/files_{}/.palk/pieces/{n:02x}/{version}_{block}", block.node())
}

impl Bench {
    fn on(&self, nodes: &[u8]) -> impl Iterator<Item = &BlockStore> {
        self.stores.iter().filter(move |store| nodes.contains(&store.id().number()))
    }

    /// Brings the pieces of version `n` to these nodes.
    fn stage(&self, n: u8, path: &str, content: &[u8], nodes: &[u8]) {
        let layout = Layout::new(content.len() as u64);
        for store in self.on(nodes) {
            let meta = PieceMeta {
                version: VersionId([n; 16]),
                place: place(path),
                file_bytes: content.len() as u64,
                stored_ms: 0,
                repair: false,
                part: None,
            };
            let mut stage = store.stage(meta).unwrap();
            let mut rest = content;
            for stripe in 0..layout.stripe_count() {
                let (own, later) = rest.split_at(layout.file_bytes_in(stripe));
                rest = later;
                let mut data = own.to_vec();
                data.resize(layout.stripe_bytes(stripe), 0);
                layout.pad(stripe, &mut data);
                let mut parity = vec![0; data.len()];
                kernel::encode(&data, &mut parity);
                let units = kernel::node_units(store.id(), &data, &parity);
                stage.units(units, units.map(checksum::unit)).unwrap();
            }
            stage.finish(Seq(n.into()), Digest(*blake3::hash(content).as_bytes())).unwrap();
        }
    }

    /// Version `n` becomes a file's current one, in the journals of these nodes.
    fn record(&mut self, n: u8, path: &str, content: &[u8], nodes: &[u8]) {
        let change = Change::Stored {
            place: place(path),
            version: VersionId([n; 16]),
            seq: Seq(n.into()),
            bytes: content.len() as u64,
            blake3: Digest(*blake3::hash(content).as_bytes()),
            stored_ms: 0,
            placed: NodeSet::ALL,
            inline: false,
            by: String::new(),
            attributes: Default::default(),
        };
        let end = self.history.last().map_or(Point::start(CLUSTER), Entry::point);
        self.history.push(Entry::after(end, 1, 0, change.encode().unwrap()));
        for store in self.on(nodes) {
            let had = store.journal_state().unwrap().end;
            let had_id = usize::try_from(had.id).unwrap();
            let entries = self.history[had_id..].to_vec();
            let decided = self.history.len() as u64;
            store.append(&Append { prev: had, decided, entries, pieces: Vec::new() }, &[]).unwrap();
        }
    }

    fn store(&mut self, n: u8, path: &str, content: &[u8]) {
        self.stage(n, path, content, &ALL);
        self.record(n, path, content, &ALL);
    }

    /// Shows what is stored in the nodes' views.
    fn follow(&self) {
        self.stores.iter().for_each(|store| while store.follow().unwrap() {});
    }

    fn lose_journals(&self) {
        let is_backup = |path: &PathBuf| path.components().any(|part| part.as_os_str() == "backup");
        for path in self.disk.files().into_keys().filter(is_backup) {
            self.disk.remove(&path).unwrap();
        }
    }

    fn read(&self, path: &str) -> Option<Vec<u8>> {
        self.disk.files().remove(Path::new(path))
    }

    fn change(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut content = self.read(path).unwrap_or_else(|| panic!("there is no {path}"));
        change(&mut content);
        self.disk.create(Path::new(path)).unwrap().append(&content).unwrap();
    }

    fn flip(&self, n: u8, block: Block, at: usize) {
        self.change(&piece(n, block), |content| content[at] ^= 1);
    }

    fn remove(&self, n: u8, block: Block) {
        self.disk.remove(Path::new(&piece(n, block))).unwrap();
    }

    /// Rescues to `/out`, and says what became of each file, and how much could not be read.
    fn rescue(&self, nodes: &[u8]) -> Result<(BTreeMap<String, Outcome>, usize)> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let roots: Vec<PathBuf> = nodes.iter().map(|node| root(*node)).collect();
        let folders =
            Folders::open(disk.clone(), &roots).map_err(|e| Error::Damaged(e.to_string()))?;
        let survey = folders.survey(&Selected::default()).unwrap();
        let out = PathBuf::from("/out");
        create_folders(&*disk, &out).map_err(Error::io("out"))?;
        let mut rescuer = Rescuer::new(disk, &out, folders.nodes(), &survey);
        for (user, folder) in &survey.folders {
            rescuer.folder(user, folder)?;
        }
        let mut outcomes = BTreeMap::new();
        for file in &survey.files {
            let outcome = rescuer.file(file, &mut |_| {})?;
            outcomes.insert(file.place.path.as_str().to_owned(), outcome);
        }
        assert_eq!(self.disk.files().get(&part_path(&out)), None);
        Ok((outcomes, survey.unread.len()))
    }

    /// What became of `a`, and what is in `/out` afterwards, which is then emptied.
    fn rescue_a(&self, nodes: &[u8]) -> (Outcome, BTreeMap<String, Vec<u8>>) {
        let outcome = self.rescue(nodes).unwrap().0.remove("a").unwrap();
        let mut written = BTreeMap::new();
        for (path, content) in self.disk.files() {
            if let Ok(name) = path.strip_prefix("/out/demo") {
                written.insert(name.to_str().unwrap().to_owned(), content);
                self.disk.remove(&path).unwrap();
            }
        }
        (outcome, written)
    }
}

fn why(outcome: &Outcome) -> &str {
    match outcome {
        Outcome::Lost { why, .. } => why,
        Outcome::Rescued(written) => panic!("rescued: {written:?}"),
    }
}

fn is_rescued(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Rescued(_))
}

#[test]
fn every_pair_gives_every_file_whatever_the_nodes_have_heard_of_it() {
    for length in [0, 1, 353, (1 << 20) - 1, 1 << 20, 2_500_000] {
        let content = noise(1, length);
        for heard in [&[][..], &[1, 3, 4], &ALL] {
            let mut bench = bench();
            bench.stage(1, "a", &content, &ALL);
            bench.record(1, "a", &content, heard);
            for pair in PAIRS {
                let (outcome, written) = bench.rescue_a(&pair);
                assert!(is_rescued(&outcome), "{outcome:?}");
                assert_eq!(written.keys().collect::<Vec<_>>(), ["a"]);
                assert!(written["a"] == content, "{length} bytes from {pair:?}");
            }
            if heard.is_empty() {
                bench.lose_journals();
                bench.follow();
                assert!(bench.rescue_a(&[2, 3]).1["a"] == content);
            }
        }
    }
}

#[test]
fn wrong_bytes_are_named_with_two_folders_and_corrected_with_three() {
    let content = noise(1, 2_500_000);
    let mut bench = bench();
    bench.store(1, "a", &content);
    // In the second stripe.
    bench.flip(1, Block::A2, 300_000);
    let (outcome, written) = bench.rescue_a(&[1, 4]);
    assert_eq!(why(&outcome), "block A2 of node 1: wrong bytes in stripe 1");
    assert!(written.is_empty());
    for nodes in [&[1, 2, 3][..], &[1, 3, 4], &[2, 3], &[1, 2, 3, 4]] {
        assert!(bench.rescue_a(nodes).1["a"] == content, "{nodes:?}");
    }
    // No two of three nodes are whole in that stripe, but A1 and B2 are left, and O1 and O2.
    bench.flip(1, Block::B1, 300_000);
    let (outcome, written) = bench.rescue_a(&[1, 2, 3]);
    assert!(is_rescued(&outcome), "{outcome:?}");
    assert!(written["a"] == content);
    // Of A1 B2 O2 no way leads on.
    bench.flip(1, Block::O1, 300_000);
    let (outcome, _) = bench.rescue_a(&[1, 2, 3]);
    assert_eq!(
        why(&outcome),
        "block A2 of node 1: wrong bytes in stripe 1; block B1 of node 2: wrong bytes in stripe 1; \
         block O1 of node 3: wrong bytes in stripe 1"
    );
    assert!(bench.rescue_a(&[1, 2, 3, 4]).1["a"] == content);
}

#[test]
fn a_block_without_a_trailer_is_good_enough_if_the_digest_is() {
    let content = noise(1, 2_500_000);
    let mut bench = bench();
    bench.store(1, "a", &content);
    let block = piece(1, Block::B1);
    bench.change(&block, |block| block.truncate(block.len() - 5));
    assert!(bench.rescue_a(&[1, 2]).1["a"] == content);
    // Now nothing says which of its bytes are right.
    bench.flip(1, Block::B1, 10);
    let (outcome, written) = bench.rescue_a(&[1, 2]);
    let said = why(&outcome);
    assert!(said.starts_with("block B1 of node 2: block trailer: the file does not end"), "{said}");
    assert!(said.ends_with("do not have the digest that it was stored with"), "{said}");
    assert!(written.is_empty());
    assert!(bench.rescue_a(&[1, 2, 3]).1["a"] == content, "it is used only where it must be");
    bench.change(&block, |block| block.truncate(100));
    let (outcome, _) = bench.rescue_a(&[1, 2]);
    assert!(why(&outcome).contains("block B1 of node 2: "), "{outcome:?}");
}

#[test]
fn a_missing_block_is_named() {
    let mut bench = bench();
    bench.store(1, "a", b"some bytes");
    bench.remove(1, Block::A1);
    assert_eq!(why(&bench.rescue_a(&[1, 2]).0), "block A1 of node 1: missing");
    bench.remove(1, Block::A2);
    assert_eq!(why(&bench.rescue_a(&[1, 2]).0), "only node 2 has any of it");
    assert!(is_rescued(&bench.rescue_a(&[1, 2, 3]).0));
    // Every block that there is has lost its end.
    for block in [Block::B1, Block::B2] {
        bench.change(&piece(1, block), |block| block.truncate(3));
    }
    let said = bench.rescue_a(&[1, 2]).0;
    assert!(why(&said).starts_with("none of its blocks says what it is: block B1"), "{said:?}");
    bench.lose_journals();
    bench.remove(1, Block::B1);
    bench.remove(1, Block::B2);
    assert_eq!(why(&bench.rescue_a(&[2, 3]).0), "only node 3 has any of it (was it deleted?)");
}

#[test]
fn an_older_version_never_gets_the_name_of_a_newer_one() {
    let mut bench = bench();
    bench.store(1, "a", b"old");
    bench.store(2, "b", b"other");
    // Never answered, or not yet.
    bench.stage(3, "a", b"newer", &[1]);
    assert_eq!(bench.rescue_a(&[1, 2]).1["a"], b"old");
    // Answered with nodes 1, 3 and 4.
    bench.stage(3, "a", b"newer", &[3, 4]);
    bench.record(3, "a", b"newer", &[1, 3, 4]);
    assert_eq!(bench.rescue_a(&[1, 3]).1["a"], b"newer");
    let (outcome, written) = bench.rescue_a(&[1, 2]);
    assert_eq!(why(&outcome), "only node 1 has any of it");
    let Outcome::Lost { older: Some(older), .. } = &outcome else { panic!("{outcome:?}") };
    assert_eq!(older.at, Path::new("/out/demo/a.older-1"));
    assert_eq!(written.keys().collect::<Vec<_>>(), ["a.older-1", "b"]);
    assert_eq!(written["a.older-1"], b"old");
}

#[test]
fn without_journals_a_version_that_no_view_names_may_have_been_answered() {
    let mut bench = bench();
    bench.store(1, "a", b"old");
    bench.follow();
    bench.lose_journals();
    // Answered with nodes 1, 3 and 4, perhaps: folders 1 and 2 do not say.
    bench.stage(3, "a", b"newer", &[1]);
    let (outcome, written) = bench.rescue_a(&[1, 2]);
    assert_eq!(
        why(&outcome),
        "its last store was under way, or had just been answered: only node 1 has any of it"
    );
    assert_eq!(written.keys().collect::<Vec<_>>(), ["a.older-1"]);
    // Where two nodes do not have it, it was never answered.
    assert_eq!(bench.rescue_a(&[1, 2, 3]).1["a"], b"old");
    assert_eq!(bench.rescue_a(&[2, 3]).1["a"], b"old");
    // Where it can be had, it is the file.
    bench.stage(3, "a", b"newer", &[3, 4]);
    assert_eq!(bench.rescue_a(&[1, 3]).1["a"], b"newer");
    assert_eq!(bench.rescue_a(&[1, 2, 4]).1["a"], b"newer");
}

#[test]
fn a_file_that_is_a_folder_as_well_lies_beside_it() {
    let mut bench = bench();
    bench.store(1, "a", b"file");
    bench.lose_journals();
    create_folders(&bench.disk, &root(4).join("demo/a/deep")).unwrap();
    let (outcome, written) = bench.rescue_a(&[3, 4]);
    assert!(why(&outcome).contains("there is a folder of its name"), "{outcome:?}");
    assert_eq!(written["a.older-1"], b"file");
    assert!(bench.disk.exists(Path::new("/out/demo/a/deep")).unwrap());
}

#[test]
fn blocks_say_which_node_they_are_of_where_nothing_else_does() {
    let mut bench = bench();
    bench.store(1, "a", b"some bytes");
    bench.disk.remove(Path::new("/files_1/.palk/node.toml")).unwrap();
    bench.change("/files_2/.palk/node.toml", |toml| *toml = b"\xffnonsense".to_vec());
    let open = |nodes: &[u8]| {
        let roots: Vec<PathBuf> = nodes.iter().map(|node| root(*node)).collect();
        Folders::open(Arc::new(bench.disk.clone()), &roots)
    };
    let folders = open(&[2, 1, 3]).unwrap();
    let told: Vec<bool> = folders.list().iter().map(|folder| folder.is_by_blocks).collect();
    assert_eq!(
        (folders.nodes().to_string().as_str(), told),
        ("nodes 1, 2 and 3", vec![true, true, false])
    );
    assert!(is_rescued(&bench.rescue_a(&[1, 2]).0));
    // A block that has gone astray leaves two answers.
    let stray = bench.read(&piece(1, Block::O1)).unwrap();
    create_folders(&bench.disk, Path::new("/files_1/demo")).unwrap();
    let mut file = bench.disk.create(Path::new("/files_1/demo/a_O1")).unwrap();
    file.append(&stray).unwrap();
    assert!(matches!(open(&[1, 2]), Err(Refusal::SeveralNodes { .. })));
}

#[test]
fn whatever_call_fails_no_file_has_other_bytes_than_its_own() {
    let contents: BTreeMap<&str, Vec<u8>> =
        [("a", noise(1, 353)), ("x/y/b", noise(2, 1_100_000)), ("x/c", Vec::new())].into();
    let prepared = || {
        let mut bench = bench();
        let mut n = 0;
        for (path, content) in &contents {
            n += 1;
            bench.store(n, path, content);
        }
        bench.follow();
        bench
    };
    let bench = prepared();
    let before = bench.disk.calls();
    assert!(bench.rescue(&[1, 4]).unwrap().0.values().all(is_rescued));
    let calls = bench.disk.calls() - before;
    let mut told = 0;
    // Most calls look for one of the 256 folders of pieces, and find none.
    for call in (1..=calls).filter(|call| call % 3 == 0 || calls - call < 100) {
        let bench = prepared();
        let nodes = bench.disk.files();
        bench.disk.fail_in(call);
        let rescued = bench.rescue(&[1, 4]);
        bench.disk.behave();
        let files = bench.disk.files();
        assert!(nodes.iter().all(|(path, content)| files.get(path) == Some(content)));
        for (path, content) in &contents {
            let there = files.get(&Path::new("/out/demo").join(path));
            assert!(there.is_none_or(|there| there == content), "{path}, call {call}");
            if let Ok((outcomes, _)) = &rescued
                && outcomes.get(*path).is_some_and(is_rescued)
            {
                assert!(there.is_some(), "{path}, call {call}");
            }
        }
        let all = rescued.is_ok_and(|(all, unread)| {
            all.len() == 3 && all.values().all(is_rescued) && unread == 0
        });
        told += u32::from(!all);
    }
    assert!(told > 20, "{told} of {calls}");
}

#[test]
fn a_full_disk_ends_it_and_leaves_no_part_of_a_file() {
    let mut bench = bench();
    bench.store(1, "a", &noise(1, 353));
    create_folders(&bench.disk, Path::new("/out")).unwrap();
    bench.disk.leave_free(Some(0));
    let error = bench.rescue(&[1, 2]).unwrap_err();
    assert_eq!(error.code(), Code::LocalFile);
    assert!(error.to_string().ends_with("no space left on the disk"), "{error}");
    assert!(bench.disk.files().keys().all(|path| !path.starts_with("/out")));
}

//! Tests of a node's block store.

use super::*;
use crate::core::code::repair::Select;
use crate::core::error::NodeFailure;
use crate::core::io::disk::RealDisk;
use crate::core::path::FilePath;
use crate::core::types::{Digest, Seq, ServerId};
use std::fs;

const FILE_BYTES: u64 = 353;
const UNIT_BYTES: usize = 89;

/// Node 2 with a folder of its own.
struct Fixture {
    folder: tempfile::TempDir,
    store: BlockStore,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path(), 2).unwrap();
    Fixture { folder, store }
}

fn open(root: &Path, node: usize) -> Result<BlockStore> {
    BlockStore::open(Arc::new(RealDisk), root, NodeId::ALL[node - 1])
}

fn place() -> Place {
    Place {
        user: UserName::parse("demo").unwrap(),
        path: FilePath::parse_rooted("test/yeet.txt").unwrap(),
    }
}

/// Version `n` has the number `n`, and blocks full of `n`.
fn version(n: u8) -> VersionId {
    VersionId([n; 16])
}

fn commit_order(n: u8) -> Order {
    Order::Commit { version: version(n), seq: Seq(n.into()), place: place() }
}

fn remove_order(up_to: u64) -> Order {
    Order::Remove { place: place(), up_to: Seq(up_to) }
}

impl Fixture {
    fn begin(&self, n: u8) -> Stage {
        let meta = PieceMeta {
            version: version(n),
            seq: Seq(n.into()),
            place: place(),
            file_bytes: FILE_BYTES,
            stored_ms: 5,
            repair: false,
        };
        self.store.stage(meta).unwrap()
    }

    fn receive(&self, n: u8) -> Stage {
        let mut stage = self.begin(n);
        let unit = [n; UNIT_BYTES];
        stage.units([&unit, &unit], [checksum::unit(&unit); 2]).unwrap();
        stage
    }

    fn stage(&self, n: u8) {
        self.receive(n).finish(Digest([n; 32])).unwrap();
    }

    fn carry(&self, order: Order) -> Outcome {
        self.store.carry(&[order]).remove(0)
    }

    fn put(&self, n: u8) {
        self.stage(n);
        assert_eq!(self.carry(commit_order(n)), Outcome::Done);
    }

    /// The bytes of a version, all of which should be `n`.
    fn read(&self, n: u8) -> std::result::Result<Vec<u8>, NodeFailure> {
        let mut body = Vec::new();
        let mut piece = self.store.open_piece(version(n), &place(), &Formerly::default());
        match piece.units(0, Select::Both, &mut body) {
            Ok(sums) => {
                assert_eq!(sums[0], checksum::unit(&body[..UNIT_BYTES]));
                Ok(body)
            }
            Err(Error::Node { why, .. }) => Err(why),
            Err(other) => panic!("{other}"),
        }
    }

    fn holds(&self, n: u8) -> bool {
        self.read(n).is_ok_and(|body| body == [n; 2 * UNIT_BYTES])
    }

    fn block(&self, which: usize) -> PathBuf {
        self.folder.path().join(["demo/test/yeet_B1.txt", "demo/test/yeet_B2.txt"][which])
    }

    fn staged(&self, n: u8, which: usize) -> PathBuf {
        let name = format!("{}_{}", version(n), ["B1", "B2"][which]);
        self.folder.path().join(".palk/staging").join(name)
    }

    fn staging_names(&self) -> Vec<String> {
        let listed = RealDisk.list(&self.folder.path().join(".palk/staging")).unwrap();
        listed.into_iter().map(|entry| entry.name).collect()
    }
}

#[test]
fn a_piece_is_read_from_staging_and_from_its_final_name_alike() {
    let f = fixture();
    f.stage(1);
    assert!(f.holds(1));
    assert_eq!(f.store.staged(None, 9).unwrap(), [version(1)]);
    assert_eq!(f.carry(commit_order(1)), Outcome::Done);
    assert!(f.holds(1));
    assert!(f.store.staged(None, 9).unwrap().is_empty());
    assert_eq!(fs::read(f.block(0)).unwrap()[..UNIT_BYTES], [1; UNIT_BYTES]);
    assert!(matches!(f.read(2), Err(NodeFailure::NotHeld(_))));
}

#[test]
fn an_order_that_comes_again_syncs_what_may_have_been_left_unsynced() {
    let f = fixture();
    f.stage(1);
    // As a process leaves it that was killed before it synced anything.
    fs::create_dir_all(f.folder.path().join("demo/test")).unwrap();
    let mut touched = Touched::default();
    let outcome = f.store.carry_one(&commit_order(1), &mut touched).unwrap();
    assert_eq!(outcome, Outcome::Done);
    let folders = ["", "demo", "demo/test", ".palk/staging"];
    let expected: HashSet<PathBuf> = folders.map(|name| f.folder.path().join(name)).into();
    let tidy = |path: &PathBuf| path.components().collect::<PathBuf>();
    assert_eq!(
        touched.folders.iter().map(tidy).collect::<HashSet<_>>(),
        expected.iter().map(tidy).collect()
    );
    for order in [commit_order(1), remove_order(1), remove_order(1)] {
        let mut touched = Touched::default();
        f.store.carry_one(&order, &mut touched).unwrap();
        assert!(touched.folders.contains(&f.folder.path().join("demo/test")), "{order:?}");
    }
    let nowhere = Place { user: UserName::parse("nobody").unwrap(), ..place() };
    assert_eq!(f.carry(Order::Remove { place: nowhere, up_to: Seq(9) }), Outcome::Done);
}

#[test]
fn every_order_can_be_repeated() {
    let f = fixture();
    let folder = FolderPath::parse("deep/er").unwrap();
    let folder = Order::MakeFolder { user: place().user, folder };
    f.stage(1);
    for order in [commit_order(1), folder, Order::Discard { version: version(9) }] {
        for _ in 0..3 {
            assert_eq!(f.carry(order.clone()), Outcome::Done, "{order:?}");
        }
    }
    assert!(f.holds(1) && f.folder.path().join("demo/deep/er").is_dir());
    for _ in 0..3 {
        assert_eq!(f.carry(remove_order(1)), Outcome::Done);
    }
    assert_eq!(f.carry(commit_order(1)), Outcome::NotHeld);
}

#[test]
fn a_lower_number_never_takes_the_place_of_a_higher_one() {
    let f = fixture();
    f.stage(1);
    f.put(2);
    assert_eq!(f.carry(commit_order(1)), Outcome::Done);
    assert!(f.holds(2) && !f.holds(1));
    assert!(f.staging_names().is_empty(), "what came too late is gone");
    f.put(3);
    assert!(f.holds(3) && !f.holds(2));
    assert_eq!(f.carry(commit_order(2)), Outcome::Done, "overtaken");
}

#[test]
fn a_crash_between_the_two_renames_is_finished_by_the_same_order() {
    for renamed in [0, 1] {
        let f = fixture();
        f.put(1);
        f.stage(2);
        fs::rename(f.staged(2, renamed), f.block(renamed)).unwrap();
        assert!(f.holds(2), "each block is found where it is");
        assert_eq!(f.carry(commit_order(2)), Outcome::Done);
        assert!(f.holds(2) && !f.holds(1));
        assert!(f.staging_names().is_empty());
    }
}

#[test]
fn a_piece_of_which_one_block_is_gone_is_not_committed() {
    let f = fixture();
    f.put(1);
    f.stage(2);
    fs::remove_file(f.staged(2, 1)).unwrap();
    assert_eq!(f.carry(commit_order(2)), Outcome::NotHeld);
    f.stage(2);
    assert_eq!(f.carry(commit_order(2)), Outcome::Done);
    assert!(f.holds(2));
}

#[test]
fn a_removal_goes_up_to_its_number() {
    let f = fixture();
    f.put(5);
    assert_eq!(f.carry(remove_order(4)), Outcome::Done);
    assert!(f.holds(5));
    fs::remove_file(f.block(0)).unwrap();
    assert_eq!(f.carry(remove_order(5)), Outcome::Done);
    assert!(!f.block(0).exists() && !f.block(1).exists());
    f.put(6);
    let mut damaged = fs::read(f.block(1)).unwrap();
    damaged.truncate(100);
    fs::write(f.block(1), damaged).unwrap();
    assert_eq!(f.carry(remove_order(7)), Outcome::Done);
    assert!(!f.block(0).exists() && !f.block(1).exists());
}

#[test]
fn what_is_discarded_or_given_up_is_gone() {
    let f = fixture();
    f.put(1);
    f.stage(2);
    f.stage(3);
    assert_eq!(f.carry(Order::Discard { version: version(2) }), Outcome::Done);
    assert_eq!(f.store.staged(None, 9).unwrap(), [version(3)]);
    assert!(f.store.staged(Some(version(3)), 9).unwrap().is_empty());
    drop(f.receive(4));
    assert!(f.begin(5).finish(Digest([0; 32])).is_err(), "its stripe is missing");
    assert_eq!(f.staging_names().len(), 2, "the two blocks of version 3");
    assert!(f.holds(1));
}

#[test]
fn two_stages_of_one_version_do_not_touch_each_other() {
    let f = fixture();
    let (late, given_up) = (f.receive(1), f.receive(1));
    f.stage(1);
    let later = f.begin(1);
    assert!(f.holds(1));
    drop(given_up);
    assert!(f.holds(1));
    assert_eq!(f.carry(commit_order(1)), Outcome::Done);
    late.finish(Digest([1; 32])).unwrap();
    drop(later);
    assert_eq!(f.store.staged(None, 9).unwrap(), [version(1)]);
    assert_eq!(f.carry(commit_order(1)), Outcome::Done);
    assert!(f.holds(1) && f.staging_names().is_empty());
}

#[test]
fn what_a_crash_left_half_received_is_gone_after_the_next_start() {
    let f = fixture();
    f.stage(1);
    std::mem::forget(f.receive(2));
    assert_eq!(f.staging_names().len(), 4);
    let again = open(f.folder.path(), 2).unwrap();
    assert_eq!(again.staged(None, 9).unwrap(), [version(1)]);
    assert_eq!(f.staging_names().len(), 2);
}

#[test]
fn units_that_are_wrong_are_refused() {
    let f = fixture();
    let unit = [1; UNIT_BYTES];
    let sum = checksum::unit(&unit);
    assert!(f.begin(1).units([&unit, &unit], [sum, sum ^ 1]).is_err());
    assert!(f.begin(1).units([&unit, &unit[1..]], [sum, sum]).is_err());
    assert!(f.receive(1).units([&unit, &unit], [sum; 2]).is_err(), "one stripe too many");
    assert!(f.staging_names().is_empty());
}

#[test]
fn an_open_piece_survives_its_replacement() {
    let f = fixture();
    f.put(1);
    let mut piece = f.store.open_piece(version(1), &place(), &Formerly::default());
    let mut body = Vec::new();
    piece.units(0, Select::Both, &mut body).unwrap();
    f.put(2);
    piece.units(0, Select::Both, &mut body).unwrap();
    assert_eq!(body, [1; 2 * UNIT_BYTES]);
    assert!(!f.holds(1) && f.holds(2));
}

#[test]
fn a_block_with_a_damaged_trailer_is_said_to_be_damaged_and_can_be_replaced() {
    let f = fixture();
    f.put(1);
    let sound = fs::read(f.block(0)).unwrap();
    for at in UNIT_BYTES..sound.len() {
        let mut bad = sound.clone();
        bad[at] ^= 4;
        fs::write(f.block(0), &bad).unwrap();
        assert!(matches!(f.read(1), Err(NodeFailure::Damaged(_))), "byte {at}");
    }
    for length in 0..sound.len() {
        fs::write(f.block(0), &sound[..length]).unwrap();
        assert!(matches!(f.read(1), Err(NodeFailure::Damaged(_))), "{length} bytes");
    }
    f.put(1);
    assert!(f.holds(1));
}

#[test]
fn a_folder_of_another_node_or_cluster_is_refused() {
    let f = fixture();
    let join = |store: &BlockStore, cluster| {
        let claim = Claim { epoch: 1, server: ServerId([5; 16]) };
        store.register(ClusterId([cluster; 16]), claim, Duration::ZERO)
    };
    join(&f.store, 1).unwrap();
    join(&f.store, 1).unwrap();
    assert_eq!(join(&f.store, 2).unwrap_err().code(), Code::NotAllowed);
    let again = open(f.folder.path(), 2).unwrap();
    assert!(join(&again, 1).is_ok());
    assert!(join(&again, 2).is_err());
    let wrong = open(f.folder.path(), 3).err().unwrap();
    assert_eq!(wrong.code(), Code::NotAllowed);
    let identity = f.folder.path().join(".palk/node.toml");
    for bad in [
        "",
        "format = 2\nnode = 2\n",
        "format = 1\nnode = 2\ncluster = \"x\"\n",
        "format = 1\nnode = 2\nepoch = 1\n",
        "format = 1\nnode = 2\nepoch = -1\nserver = \"11111111111111111111111111111111\"\n",
        "format = 1\nnode = 2\nepoch = 1\nserver = \"x\"\n",
    ] {
        fs::write(&identity, bad).unwrap();
        assert!(open(f.folder.path(), 2).is_err(), "{bad:?}");
    }
}

//! The volume over four real block stores in temporary folders, without sockets or threads: what is
//! written can be read from any two, damage is noticed and gone around, and a lost piece is rebuilt
//! from three units a stripe.

#[path = "support/local.rs"]
mod local;

use std::cell::Cell;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use palk::core::cluster::node::Node;
use palk::core::cluster::roster::Roster;
use palk::core::cluster::volume::Volume;
use palk::core::cluster::{Fanout, Lacking, Wanted, Written};
use palk::core::error::{Error, Result};
use palk::core::io::disk::RealDisk;
use palk::core::io::random::Random;
use palk::core::node::store::BlockStore;
use palk::core::path::{FilePath, UserName};
use palk::core::types::{Block, Digest, NodeId, NodeSet, Seq, VersionId};
use palk::core::wire::node::{PieceMeta, Place};

use local::LocalNode;

struct Fixture {
    folder: tempfile::TempDir,
    nodes: Vec<Arc<LocalNode>>,
    roster: Arc<Roster>,
    volume: Volume,
    /// Of the version that was staged last.
    last_seq: Cell<Seq>,
}

fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let nodes: Vec<Arc<LocalNode>> = NodeId::ALL
        .into_iter()
        .map(|id| {
            let root = folder.path().join(format!("files_{id}"));
            Arc::new(LocalNode::new(BlockStore::open(Arc::new(RealDisk), &root, id).unwrap()))
        })
        .collect();
    let links: Vec<Arc<dyn Node>> =
        nodes.iter().cloned().map(|node| node as Arc<dyn Node>).collect();
    let roster = Arc::new(Roster::new(links.try_into().unwrap_or_else(|_| unreachable!())));
    let volume = Volume::new(roster.clone(), Arc::new(Random::seeded(1)), Fanout::Inline);
    let fixture = Fixture { folder, nodes, roster, volume, last_seq: Cell::new(Seq(0)) };
    fixture.switch(NodeSet::ALL);
    fixture
}

fn place() -> Place {
    Place {
        user: UserName::parse("demo").unwrap(),
        path: FilePath::parse_rooted("test/yeet.txt").unwrap(),
    }
}

fn bytes(length: usize) -> Vec<u8> {
    (0..length).map(|i| u8::try_from(i * 131 % 251).unwrap()).collect()
}

fn digest(content: &[u8]) -> Digest {
    Digest(*blake3::hash(content).as_bytes())
}

fn meta(version: u8, file_bytes: usize) -> PieceMeta {
    PieceMeta {
        version: VersionId([version; 16]),
        place: place(),
        file_bytes: file_bytes as u64,
        stored_ms: 0,
        repair: false,
        part: None,
    }
}

impl Fixture {
    /// Exactly these nodes are on, and the roster knows it.
    fn switch(&self, on: NodeSet) {
        for node in &self.nodes {
            node.off.store(!on.contains(node.id()), Ordering::SeqCst);
            let _ = self.roster.heard(node.id(), node.ping(0));
        }
    }

    fn write(&self, version: u8, content: &[u8]) -> NodeSet {
        let mut writing = self.volume.write(&meta(version, content.len())).unwrap();
        let mut rest = content;
        while !rest.is_empty() {
            let room = writing.room().unwrap();
            let (now, later) = rest.split_at(room.len());
            room.copy_from_slice(now);
            rest = later;
            writing.push().unwrap();
        }
        let blake3 = digest(content);
        match writing.finish(blake3).unwrap() {
            Written::Staged { seq, nodes, .. } => {
                self.last_seq.set(seq);
                nodes
            }
            // What the journal does with a small file.
            Written::Inline { seq, stripe } => {
                let up = self.roster.up();
                for node in self.nodes.iter().filter(|node| up.contains(node.id())) {
                    let (units, checksums) = stripe.for_node(node.id());
                    let units: [&[u8]; 2] = units.split_at(stripe.unit_bytes()).into();
                    let mut stage = node.store().stage(meta(version, content.len())).unwrap();
                    stage.units(units, checksums).unwrap();
                    stage.finish(seq, blake3).unwrap();
                }
                up
            }
        }
    }

    fn read(&self, version: u8, length: usize) -> Result<(Vec<u8>, NodeSet, NodeSet)> {
        let id = VersionId([version; 16]);
        let place = place();
        let begun = self.volume.read(Wanted::whole(id, &place, length as u64, NodeSet::ALL));
        let mut reading = begun.map_err(|(error, _)| error)?;
        let mut content = Vec::new();
        while let Some(parts) = reading.next_part()? {
            parts.iter().for_each(|part| content.extend_from_slice(part));
        }
        Ok((content, reading.used(), reading.unsound()))
    }

    /// How many block files a node has that are whole, and how many that are half received.
    fn block_files(&self, node: usize) -> (usize, usize) {
        let pieces = self.folder.path().join(format!("files_{node}/.palk/pieces"));
        let folders = std::fs::read_dir(pieces).unwrap().map(|entry| entry.unwrap().path());
        let names = folders.flat_map(|folder| std::fs::read_dir(folder).unwrap());
        let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
        let half = |name: &&std::ffi::OsString| name.to_str().unwrap().contains('.');
        let half = names.iter().filter(half).count();
        (names.len() - half, half)
    }

    fn block(&self, version: u8, block: Block) -> PathBuf {
        let id = VersionId([version; 16]).to_string();
        let folder = self.folder.path().join(format!("files_{}", block.node()));
        folder.join(".palk/pieces").join(&id[..2]).join(format!("{id}_{block}"))
    }
}

fn flip(path: &Path, at: usize) {
    let mut content = std::fs::read(path).unwrap();
    content[at] ^= 1;
    std::fs::write(path, content).unwrap();
}

#[test]
fn what_is_written_is_read_from_every_pair() {
    for length in [0, 1, 353, (1 << 20) - 1, 1 << 20, 2_500_000] {
        let f = fixture();
        let content = bytes(length);
        assert_eq!(f.write(1, &content), NodeSet::ALL);
        for pair in (0..16).map(NodeSet::from_bits).filter(|pair| pair.len() == 2) {
            f.switch(pair);
            let (read, used, _) = f.read(1, length).unwrap();
            assert!(read == content, "{length} bytes from {pair}");
            assert_eq!(used, pair);
        }
    }
}

#[test]
fn a_wrong_unit_is_gone_around_and_its_node_is_named() {
    let content = bytes(2_500_000);
    let f = fixture();
    f.write(1, &content);
    // In the second stripe of node 2, and the file of another block of node 4 is gone.
    flip(&f.block(1, Block::B2), 300_000);
    std::fs::remove_file(f.block(1, Block::O3)).unwrap();
    let mut named = NodeSet::EMPTY;
    for _ in 0..40 {
        let (read, _, unsound) = f.read(1, content.len()).unwrap();
        assert!(read == content);
        named = unsound.iter().chain(named.iter()).collect();
    }
    assert_eq!(named, NodeSet::from_bits(0b1010));
    f.switch(NodeSet::from_bits(0b1011));
    flip(&f.block(1, Block::A1), 0);
    let refused = f.read(1, content.len()).unwrap_err();
    assert!(refused.to_string().contains("node 1 (block damaged"), "{refused}");
}

#[test]
fn pieces_that_are_damaged_in_different_places_still_make_a_whole_file() {
    let content = bytes(3_500_000);
    let f = fixture();
    f.write(1, &content);
    flip(&f.block(1, Block::A1), 10);
    flip(&f.block(1, Block::B1), 300_000);
    flip(&f.block(1, Block::O1), 600_000);
    for _ in 0..20 {
        assert!(f.read(1, content.len()).unwrap().0 == content);
    }
    // And the piece of the fourth can be rebuilt from them.
    let lacking = Lacking {
        meta: meta(1, content.len()),
        seq: f.last_seq.get(),
        blake3: digest(&content),
        placed: NodeSet::ALL,
    };
    let before = std::fs::read(f.block(1, Block::O4)).unwrap();
    std::fs::remove_file(f.block(1, Block::O4)).unwrap();
    let rebuilt = f.volume.rebuild(NodeId::ALL[3], &lacking, &mut |_| {});
    assert!(rebuilt.outcome.is_ok() && !rebuilt.unsound.is_empty());
    assert!(std::fs::read(f.block(1, Block::O4)).unwrap() == before);
}

#[test]
fn a_version_is_never_taken_for_another() {
    let f = fixture();
    f.write(1, &bytes(353));
    f.write(2, &bytes(400));
    assert_eq!(f.read(1, 353).unwrap().0, bytes(353));
    assert_eq!(f.read(2, 400).unwrap().0, bytes(400), "of the same path");
    for node in &f.nodes {
        node.store().discard(&[VersionId([1; 16])]).unwrap();
    }
    assert!(f.read(1, 353).is_err());
    assert_eq!(f.read(2, 400).unwrap().0, bytes(400));
    assert!((1..=4).all(|node| f.block_files(node) == (2, 0)));
}

#[test]
fn a_lost_piece_is_rebuilt_from_three_units_a_stripe() {
    let content = bytes(2_500_000);
    for lost in NodeId::ALL {
        let f = fixture();
        f.write(1, &content);
        let blocks = lost.blocks().map(|block| f.block(1, block));
        let before = blocks.clone().map(|path| std::fs::read(path).unwrap());
        blocks.iter().for_each(|path| std::fs::remove_file(path).unwrap());
        let sent = || f.nodes.iter().map(|node| node.sent.load(Ordering::SeqCst)).sum::<u64>();

        let lacking = Lacking {
            meta: meta(1, content.len()),
            seq: f.last_seq.get(),
            blake3: digest(&content),
            placed: NodeSet::ALL,
        };
        let moved = f.volume.rebuild(lost, &lacking, &mut |_| {}).outcome.unwrap();
        assert_eq!(moved, sent());
        let block_bytes = (content.len() as u64 + 4) / 4;
        assert_eq!(moved, 3 * block_bytes, "a quarter less than the four blocks of two nodes");
        assert!(blocks.clone().map(|path| std::fs::read(path).unwrap()) == before);

        // And from two, when one more is away.
        blocks.iter().for_each(|path| std::fs::remove_file(path).unwrap());
        let away = NodeId::ALL.into_iter().find(|id| *id != lost).unwrap();
        let mut on = NodeSet::ALL;
        on.remove(away);
        f.switch(on);
        assert_eq!(f.volume.rebuild(lost, &lacking, &mut |_| {}).outcome.unwrap(), 4 * block_bytes);
        assert!(blocks.map(|path| std::fs::read(path).unwrap()) == before);
    }
}

#[test]
fn fewer_than_three_nodes_take_no_file_and_keep_nothing() {
    let f = fixture();
    f.switch(NodeSet::from_bits(0b0111));
    assert_eq!(f.write(1, &bytes(353)), NodeSet::from_bits(0b0111));
    f.switch(NodeSet::from_bits(0b0011));
    let refused = f.volume.write(&meta(2, 353)).err().unwrap();
    assert!(matches!(refused, Error::TooFewToStore(_)), "{refused}");
    assert!(refused.to_string().ends_with("node 3 (switched off), node 4 (switched off)"));

    // Two nodes fail after it has begun.
    f.switch(NodeSet::ALL);
    let mut writing = f.volume.write(&meta(3, 2_500_000)).unwrap();
    writing.room().unwrap().fill(7);
    f.nodes[0].off.store(true, Ordering::SeqCst);
    f.nodes[1].off.store(true, Ordering::SeqCst);
    assert!(matches!(writing.push(), Err(Error::TooFewToStore(_))));
    drop(writing);
    assert_eq!((f.block_files(3), f.block_files(4)), ((2, 0), (0, 0)), "only version 1");
}

#[test]
fn a_store_that_is_given_up_leaves_nothing() {
    let f = fixture();
    let mut writing = f.volume.write(&meta(1, 2_500_000)).unwrap();
    writing.room().unwrap().fill(1);
    writing.push().unwrap();
    assert!((1..=4).all(|node| f.block_files(node) == (0, 2)));
    drop(writing);
    assert!((1..=4).all(|node| f.block_files(node) == (0, 0)));
}

//! The coding layer from outside: whole files of many sizes, cut, coded, lost and brought back.

use palk::core::code::layout::{Layout, STRIPE_BYTES_MAX};
use palk::core::code::repair::{Select, plan, rebuild};
use palk::core::code::witness::{Verdict, witness};
use palk::core::code::{checksum, kernel};
use palk::core::types::{Block, NodeId};
use proptest::prelude::*;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;

/// Known inputs and the blocks that they must give, from `data/vectors.json`.
#[derive(Deserialize)]
struct Vectors {
    first_16_bytes_of_seed_353: String,
    vectors: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    size: u64,
    seed: u64,
    sha256: String,
    pad: usize,
    padded_len: u64,
    block_len: u64,
    blocks: BTreeMap<String, String>,
    data_hex: Option<String>,
    blocks_hex: Option<BTreeMap<String, String>>,
}

/// SplitMix64, its outputs as little-endian bytes.
fn random_bytes(seed: u64, size: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut state = seed;
    let size = usize::try_from(size).unwrap();
    while bytes.len() < size {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bytes.extend((z ^ (z >> 31)).to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The eight blocks of a file, coded stripe by stripe in the same two buffers.
fn blocks_of(file: &[u8]) -> [Vec<u8>; 8] {
    let layout = Layout::new(file.len() as u64);
    let mut blocks: [Vec<u8>; 8] = Default::default();
    let mut data = vec![0xee; STRIPE_BYTES_MAX.min(layout.stripe_bytes(0))];
    let mut parity = vec![0xee; data.len()];
    let mut rest = file;
    for stripe in 0..layout.stripe_count() {
        let (own, length) = (layout.file_bytes_in(stripe), layout.stripe_bytes(stripe));
        data[..own].copy_from_slice(&rest[..own]);
        rest = &rest[own..];
        layout.pad(stripe, &mut data);
        kernel::encode(&data[..length], &mut parity[..length]);
        let units = kernel::units(&data[..length]).into_iter();
        for (block, unit) in blocks.iter_mut().zip(units.chain(kernel::units(&parity[..length]))) {
            assert_eq!(block.len() as u64, layout.unit_offset(stripe));
            block.extend_from_slice(unit);
        }
    }
    assert!(rest.is_empty());
    blocks
}

/// One node's two units of a stripe.
fn units_at(blocks: &[Vec<u8>; 8], layout: Layout, stripe: u64, id: NodeId) -> [&[u8]; 2] {
    let from = usize::try_from(layout.unit_offset(stripe)).unwrap();
    id.blocks().map(|block| &blocks[block.index()][from..from + layout.unit_bytes(stripe)])
}

fn read_back(blocks: &[Vec<u8>; 8], file_bytes: usize, pair: [NodeId; 2]) -> Vec<u8> {
    let layout = Layout::new(file_bytes as u64);
    let mut file = Vec::with_capacity(file_bytes);
    let mut data = vec![0xdd; layout.stripe_bytes(0)];
    for stripe in 0..layout.stripe_count() {
        let data = &mut data[..layout.stripe_bytes(stripe)];
        kernel::decode(pair, pair.map(|id| units_at(blocks, layout, stripe, id)), data);
        file.extend_from_slice(&data[..layout.file_bytes_in(stripe)]);
    }
    file
}

/// Every two different nodes, in either order.
fn pairs() -> impl Iterator<Item = [NodeId; 2]> {
    NodeId::ALL
        .into_iter()
        .flat_map(|one| NodeId::ALL.map(|other| [one, other]))
        .filter(|[one, other]| one != other)
}

fn selected([first, second]: [&[u8]; 2], select: Select) -> Vec<u8> {
    match select {
        Select::Both => [first, second].concat(),
        Select::First => first.to_vec(),
        Select::Second => second.to_vec(),
        Select::Xor => {
            let mut out = vec![0xbb; first.len()];
            kernel::xor(&mut out, first, second);
            out
        }
    }
}

fn assert_every_pair_reads(file: &[u8]) {
    let blocks = blocks_of(file);
    for pair in pairs() {
        assert!(read_back(&blocks, file.len(), pair) == file, "{} bytes, {pair:?}", file.len());
    }
}

fn assert_every_node_is_rebuilt(file: &[u8]) {
    let blocks = blocks_of(file);
    let layout = Layout::new(file.len() as u64);
    for (lost, stripe) in
        NodeId::ALL.into_iter().flat_map(|id| (0..layout.stripe_count()).map(move |at| (id, at)))
    {
        let of = |id| units_at(&blocks, layout, stripe, id);
        let length = layout.unit_bytes(stripe);
        let (mut first, mut second) = (vec![0xcc; length], vec![0xcc; length]);
        let sent = plan(lost).map(|(id, select)| selected(of(id), select));
        rebuild(lost, [&sent[0], &sent[1], &sent[2]], [&mut first, &mut second]);
        assert!([&first[..], &second[..]] == of(lost), "{lost:?}, {} bytes", file.len());
    }
}

#[test]
fn every_known_file_has_its_known_blocks() {
    let known: Vectors = serde_json::from_str(include_str!("data/vectors.json")).unwrap();
    assert_eq!(hex(&random_bytes(353, 16)), known.first_16_bytes_of_seed_353);
    assert!(!known.vectors.is_empty());
    for vector in known.vectors {
        let file = random_bytes(vector.seed, vector.size);
        assert_eq!(hex(&Sha256::digest(&file)), vector.sha256);
        vector.data_hex.iter().for_each(|data| assert_eq!(&hex(&file), data));
        let layout = Layout::new(vector.size);
        assert_eq!(layout.padding(), vector.pad);
        assert_eq!(layout.padded_bytes(), vector.padded_len);
        assert_eq!(layout.block_bytes(), vector.block_len);
        let blocks = blocks_of(&file);
        assert_eq!(vector.blocks.len(), blocks.len());
        for (name, sha256) in &vector.blocks {
            let block = Block::ALL.into_iter().find(|block| block.name() == name).unwrap();
            let bytes = &blocks[block.index()];
            assert_eq!(bytes.len() as u64, vector.block_len);
            assert_eq!(&hex(&Sha256::digest(bytes)), sha256, "{name} of {} bytes", vector.size);
            let expected = vector.blocks_hex.as_ref().map(|blocks| &blocks[name]);
            expected.iter().for_each(|block| assert_eq!(&&hex(bytes), block));
        }
    }
}

#[test]
fn any_two_nodes_give_every_file_back() {
    let bytes = random_bytes(1, 5000);
    for size in 0..=bytes.len() {
        assert_every_pair_reads(&bytes[..size]);
    }
}

#[test]
fn a_node_is_rebuilt_from_three_others_or_from_two() {
    let bytes = random_bytes(2, 5000);
    for size in (0..=300).chain((300..=5000).step_by(97)) {
        assert_every_node_is_rebuilt(&bytes[..size]);
    }
}

#[test]
fn a_file_with_damage_on_any_node_names_that_node() {
    let file = random_bytes(3, 1001);
    let layout = Layout::new(1001);
    let mut blocks = blocks_of(&file);
    for (block, byte) in Block::ALL.into_iter().flat_map(|b| (0..251).map(move |at| (b, at))) {
        blocks[block.index()][byte] ^= 0x40;
        let verdict = witness(NodeId::ALL.map(|id| units_at(&blocks, layout, 0, id)));
        assert_eq!(verdict, Verdict::Wrong(block.node()), "{block}, byte {byte}");
        blocks[block.index()][byte] ^= 0x40;
    }
    let verdict = witness(NodeId::ALL.map(|id| units_at(&blocks, layout, 0, id)));
    assert_eq!(verdict, Verdict::AllAgree);
}

#[test]
fn parity_checksums_follow_from_the_datas_at_every_length() {
    let bytes = random_bytes(4, 5000);
    for size in 0..=bytes.len() {
        let blocks = blocks_of(&bytes[..size]);
        let sums: Vec<u64> = blocks.iter().map(|block| checksum::unit(block)).collect();
        let derived = checksum::of_parity([sums[0], sums[1], sums[2], sums[3]], blocks[0].len());
        assert_eq!(sums[4..], derived, "{size} bytes");
        assert_eq!(
            checksum::of_xor(sums[2], sums[3], blocks[0].len()),
            checksum::unit(&selected([&blocks[2], &blocks[3]], Select::Xor)),
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn files_of_many_stripes_survive_any_two_losses(
        seed in any::<u64>(),
        size in prop_oneof![
            (0u64..4, 0u64..=10).prop_map(|(mib, by)| (mib << 20) + by + (1 << 20) - 5),
            5000u64..3_500_000,
        ],
    ) {
        let file = random_bytes(seed, size);
        assert_every_pair_reads(&file);
        assert_every_node_is_rebuilt(&file);
    }
}

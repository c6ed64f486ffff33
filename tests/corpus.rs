//! The fuzz targets on any toolchain: every kept input, and a fixed number of random changes of
//! kept inputs under a fixed seed. `fuzz/README.md` says how to let a fuzzer search for more.

#[path = "../fuzz/src/targets/mod.rs"]
mod targets;

use std::fs;
use std::panic;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use targets::{TARGETS, Target};

const SEED: u64 = 17777;
/// Limits of the kept corpus, so that it stays something that can be looked at.
const FILES_MAX: usize = 64;
const BYTES_MAX: usize = 500_000;
/// A mutation is made of at most so many changes.
const CHANGES_MAX: u32 = 8;

#[test]
fn what_strangers_say_to_the_server_is_taken_well() {
    try_out(&["session_specified", "session_2020", "session_extended"]);
}

#[test]
fn what_a_server_says_is_not_believed() {
    try_out(&["hostile_server", "extended", "chunks", "client_config"]);
}

#[test]
fn what_comes_to_a_node_or_lies_on_its_disk_is_checked() {
    try_out(&[
        "node_frames",
        "node_journal",
        "trailer",
        "rescue",
        "node_toml",
        "snapshot",
        "journal",
    ]);
}

#[test]
fn names_lead_nowhere_else() {
    try_out(&["names", "parsers"]);
}

#[test]
fn what_comes_through_the_admin_socket_is_taken_well() {
    try_out(&["admin_lines"]);
}

#[test]
fn what_anybody_in_the_network_says_is_taken_well() {
    try_out(&["discovery"]);
}

#[test]
fn what_comes_through_the_other_doors_is_taken_well() {
    try_out(&["door_share", "door_folder", "door_request", "web"]);
}

#[test]
fn every_target_is_tried_and_has_its_program_and_a_small_corpus() {
    let this = fs::read_to_string(root().join("tests/corpus.rs")).unwrap();
    let manifest = fs::read_to_string(root().join("fuzz/Cargo.toml")).unwrap();
    let mut bytes = 0;
    for Target { name, .. } in TARGETS {
        let program = root().join(format!("fuzz/fuzz_targets/{name}.rs"));
        let program = fs::read_to_string(program).unwrap_or_default();
        assert!(program.contains(&format!("run(\"{name}\"")), "fuzz_targets/{name}.rs");
        assert!(manifest.contains(&format!("fuzz_targets/{name}.rs")), "no [[bin]] for {name}");
        assert!(this.contains(&format!("\"{name}\"")), "no test here tries {name}");
        let kept = kept(name);
        assert!((1..=FILES_MAX).contains(&kept.len()), "{name} keeps {} inputs", kept.len());
        bytes += kept.iter().map(|(_, input)| input.len()).sum::<usize>();
    }
    assert!(bytes <= BYTES_MAX, "{bytes} bytes are kept");
    let folders = fs::read_dir(root().join("fuzz/corpus")).unwrap().count();
    assert_eq!(folders, TARGETS.len(), "a folder in fuzz/corpus belongs to no target");
}

#[test]
#[should_panic(expected = "the target says no")]
fn a_target_that_fails_is_noticed() {
    let broken = Target { name: "parsers", run: |_| panic!("the target says no"), rounds: 1 };
    try_one(&broken);
}

fn try_out(names: &[&str]) {
    for name in names {
        let target = TARGETS.iter().find(|target| target.name == *name);
        try_one(target.unwrap_or_else(|| panic!("there is no target {name}")));
    }
}

fn try_one(target: &Target) {
    let kept = kept(target.name);
    for (file, input) in &kept {
        try_input(target, input, file);
    }
    let mut rng = StdRng::seed_from_u64(SEED);
    for round in 0..target.rounds {
        let input = mutated(&kept, &mut rng);
        try_input(target, &input, &format!("round {round}"));
    }
}

fn try_input(target: &Target, input: &[u8], which: &str) {
    if let Err(why) = panic::catch_unwind(|| (target.run)(input)) {
        eprintln!("{}: {which}: {}", target.name, input.escape_ascii());
        panic::resume_unwind(why);
    }
}

/// A kept input after some changes: bits flipped, bytes changed, cut out, put in, doubled, or joined
/// with the end of another one.
fn mutated(kept: &[(String, Vec<u8>)], rng: &mut StdRng) -> Vec<u8> {
    let pick = |rng: &mut StdRng| &kept[rng.random_range(0..kept.len())].1;
    let mut input = pick(rng).clone();
    for _ in 0..rng.random_range(1..=CHANGES_MAX) {
        let at = rng.random_range(0..=input.len());
        let end = rng.random_range(at..=input.len().min(at + 16));
        match rng.random_range(0..7) {
            0 if at < input.len() => input[at] ^= 1 << rng.random_range(0..8),
            1 if at < input.len() => input[at] = rng.random(),
            2 => drop(input.drain(at..end)),
            3 => input.insert(at, rng.random()),
            4 => {
                let piece = input[at..end].to_vec();
                input.splice(at..at, piece);
            }
            5 => {
                let other = pick(rng);
                let from = rng.random_range(0..=other.len());
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            _ => input.truncate(at),
        }
    }
    input
}

/// The kept inputs of a target, by name.
fn kept(name: &str) -> Vec<(String, Vec<u8>)> {
    let folder = root().join("fuzz/corpus").join(name);
    let entries = fs::read_dir(&folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display()));
    let mut kept: Vec<(String, Vec<u8>)> = entries
        .map(|entry| {
            let entry = entry.unwrap();
            (entry.file_name().into_string().unwrap(), fs::read(entry.path()).unwrap())
        })
        .collect();
    kept.sort();
    kept
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_path_buf()
}

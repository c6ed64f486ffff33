//! The bodies of the fuzz targets. Each is a function of bytes that panics if Palk does with them
//! what it must never do.
//!
//! Two things run them: the programs in `fuzz_targets/`, which libFuzzer feeds and steers, and
//! `tests/corpus.rs` of the main crate, which goes through the kept corpus on any toolchain.
//! `README.md` says how to add one.

mod admin_lines;
mod bytes;
mod chunks;
mod client_config;
mod discovery;
mod doors;
mod extended;
mod hostile_server;
mod journal;
mod memory;
mod names;
mod node_frames;
mod node_journal;
mod node_toml;
mod parsers;
mod rescue;
mod session;
mod snapshot;
mod trailer;
mod web;

/// A fuzz target.
#[derive(Clone, Copy)]
pub(crate) struct Target {
    /// What its program in `fuzz_targets/` and its folder in `corpus/` are called.
    pub(crate) name: &'static str,
    /// Panics if the bytes make Palk do what it must not.
    pub(crate) run: fn(&[u8]),
    /// How many mutations of the corpus `tests/corpus.rs` tries: fewer where one takes long.
    #[allow(dead_code)] // a fuzzer runs until it is told to end
    pub(crate) rounds: u32,
}

const fn target(name: &'static str, run: fn(&[u8]), rounds: u32) -> Target {
    Target { name, run, rounds }
}

/// All of them, what strangers reach first.
pub(crate) const TARGETS: &[Target] = &[
    target("session_specified", session::specified, 5_000),
    target("session_2020", session::year_2020, 5_000),
    target("session_extended", session::extended, 5_000),
    target("hostile_server", hostile_server::run, 200),
    target("names", names::run, 5_000),
    target("node_frames", node_frames::run, 5_000),
    target("extended", extended::run, 5_000),
    target("chunks", chunks::run, 5_000),
    target("node_journal", node_journal::run, 5_000),
    target("trailer", trailer::run, 5_000),
    target("rescue", rescue::run, 1_000),
    target("node_toml", node_toml::run, 2_000),
    target("client_config", client_config::run, 2_000),
    target("parsers", parsers::run, 5_000),
    target("snapshot", snapshot::run, 5_000),
    target("journal", journal::run, 5_000),
    target("admin_lines", admin_lines::run, 5_000),
    target("discovery", discovery::run, 5_000),
    target("door_share", doors::share, 5_000),
    target("door_folder", doors::folder, 5_000),
    target("door_request", doors::request, 5_000),
    target("web", web::run, 5_000),
];

//! What the programs in `fuzz_targets/` share. The targets themselves are in `targets`, where
//! `tests/corpus.rs` of the main crate finds them too.

mod targets;

/// Runs one target.
///
/// # Panics
/// If there is no such target, and if Palk does what it must not.
pub fn run(name: &str, data: &[u8]) {
    let target = targets::TARGETS.iter().find(|target| target.name == name);
    (target.unwrap_or_else(|| panic!("no target {name}")).run)(data);
}

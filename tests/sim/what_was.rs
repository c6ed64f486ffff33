//! Runs in which much is about what was: snapshots, folders and tops that are set back, and clocks that are
//! wrong; and what must be noticed in them.

use std::panic;

use palk::core::cluster::retention::Keep;

use super::faults::Faults;
use super::past::KEEPS;
use super::world::World;
use super::{failures, reach_one_node, run, run_all, seeds};

/// In every way in which things go wrong elsewhere.
pub(crate) fn what_was(seed: u64) -> Faults {
    Faults {
        history: true,
        clocks: seed % 2 == 1,
        take_overs: seed % 4 == 2,
        disk_loss: seed % 4 != 2 && seed.is_multiple_of(3),
        node_crashes: !seed.is_multiple_of(3),
        server_crashes: seed % 3 == 1,
        damage: seed.is_multiple_of(5),
        loss: seed % 7 == 1,
        full_disks: seed % 13 == 5,
        keep: KEEPS[usize::try_from(seed / 2 % 3).unwrap()],
        ..Faults::default()
    }
}

#[test]
fn nothing_answered_is_lost_of_what_was() {
    let all = run_all("what-was", what_was);
    assert!(all.snapshots > seeds() && all.set_back > seeds() && all.undone > seeds() / 2);
    assert!(all.clocks_set > seeds() / 4 && all.taken_over > seeds() / 4);
}

/// A snapshot is made of a file that may be taken back, and that is replaced and taken back then.
#[test]
fn a_snapshot_has_what_a_file_was_that_another_one_had_replaced_which_was_taken_back() {
    let mut world = World::new(5, Faults::default());
    reach_one_node(&mut world, "b", [b"answered", b"on one node only"]);
    assert!(world.is_uncertain());
    world.server().cluster.let_go().unwrap();
    assert!(world.make_snapshot("before", None));
    assert!(world.store("demo", "b", b"later", 9));
    world.make_whole();
}

// ---- canaries ----

/// That nothing is noticed in some runs without this fault, and something in some with it.
fn is_caught(honest: Faults, broken: Faults, what: &str) {
    assert_eq!(failures(15, honest), 0, "without it all is well");
    let caught = (0..100).find(|seed| panic::catch_unwind(|| run(*seed, broken)).is_err());
    println!("seed {caught:?} notices {what}");
    assert!(caught.is_some(), "nobody notices {what}");
}

#[test]
fn the_canary_snapshots_that_end_too_early_are_caught() {
    let honest = Faults { history: true, ..Faults::default() };
    is_caught(honest, Faults { hasty_snapshots: true, ..honest }, "that snapshots end too early");
}

#[test]
fn the_canary_a_server_that_forgets_folders_while_they_are_filled_is_caught() {
    let honest = Faults { history: true, keep: Keep::Forever, ..Faults::default() };
    is_caught(honest, Faults { unsparing: true, ..honest }, "that folders are forgotten");
}

#[test]
fn the_canary_a_server_that_keeps_nothing_is_caught() {
    let honest = Faults { history: true, keep: KEEPS[1], clocks: true, ..Faults::default() };
    is_caught(honest, Faults { forgetful: true, ..honest }, "that nothing is kept");
}

//! The real store, volume, catalog, delivery and rebuilding code, in one thread under one seed, on
//! simulated disks and links: crashes between any two steps, lost writes, lost and repeated calls,
//! I/O errors, full disks. Afterwards faults stop, and the cluster must become whole.
//!
//! A failure names its seed; `PALK_SIM_SEED=N cargo nextest run --test sim one_seed` repeats it
//! exactly, and `PALK_SIM_SEEDS=N cargo nextest run --release --test sim` runs any number.

#[path = "support/deadlocks.rs"]
mod deadlocks;
#[path = "sim/disk.rs"]
mod disk;
#[path = "sim/names.rs"]
mod names;
#[path = "sim/node.rs"]
mod node;
#[path = "sim/tamper.rs"]
mod tamper;
#[path = "sim/world.rs"]
mod world;

use std::panic::{self, AssertUnwindSafe};

use node::Process;
use world::{Faults, World};

/// Seeds that CI runs, for each kind of faults.
const SEEDS: u64 = 60;

/// Events in one run.
const STEPS: u32 = 60;

fn seeds() -> u64 {
    std::env::var("PALK_SIM_SEEDS").ok().and_then(|text| text.parse().ok()).unwrap_or(SEEDS)
}

/// What goes wrong under this seed.
fn faults(seed: u64) -> Faults {
    Faults {
        node_crashes: true,
        server_crashes: !seed.is_multiple_of(3),
        loss: seed.is_multiple_of(2),
        disk_errors: seed.is_multiple_of(5),
        full_disks: seed.is_multiple_of(7),
        rot: seed.is_multiple_of(4),
        scrubs: true,
        take_overs: false,
        disk_loss: seed % 3 == 1,
        lies: false,
        hollow: false,
    }
}

/// Answered changes, moves among them, and recoveries.
fn run(seed: u64, faults: Faults) -> [u64; 3] {
    let mut world = World::new(seed, faults);
    world.run(STEPS);
    world.make_whole();
    [world.answered, world.moved, world.recoveries]
}

/// Runs a seed; a failure names it.
fn checked(seed: u64) -> [u64; 3] {
    let ended = panic::catch_unwind(AssertUnwindSafe(|| run(seed, faults(seed))));
    ended.unwrap_or_else(|payload| {
        eprintln!("seed {seed} failed: PALK_SIM_SEED={seed} repeats it");
        panic::resume_unwind(payload)
    })
}

#[test]
fn nothing_answered_is_lost_whatever_crashes() {
    let (mut answered, mut moves, mut recoveries) = (0, 0, 0);
    for [changes, moved, recovered] in (0..seeds()).map(checked) {
        answered += changes;
        moves += moved;
        recoveries += recovered;
    }
    println!(
        "{} seeds, {answered} answered changes, {moves} of them moves, {recoveries} recoveries",
        seeds()
    );
    assert!(answered > seeds() && moves > seeds() / 2, "the runs do something");
    assert!(recoveries > seeds() / 10, "and the server's disk is lost in some");
}

#[test]
fn nothing_answered_is_lost_when_a_server_is_taken_over_and_goes_on() {
    let (mut answered, mut taken_over) = (0, 0);
    for seed in 0..seeds() {
        let mut world = World::new(seed, Faults { take_overs: true, ..Faults::default() });
        world.run(STEPS);
        world.make_whole();
        answered += world.answered;
        taken_over += world.taken_over;
    }
    println!("{taken_over} servers taken over, {answered} answered changes");
    assert!(taken_over > seeds() && answered > seeds(), "the runs do something");
}

#[test]
fn one_seed() {
    let seed = std::env::var("PALK_SIM_SEED").ok().and_then(|text| text.parse().ok());
    if seed.is_some() {
        // Whoever repeats a seed wants to see what the server says.
        tracing_subscriber::fmt().with_test_writer().without_time().init();
    }
    checked(seed.unwrap_or(0));
}

#[test]
fn a_seed_repeats_exactly() {
    let fingerprint = |seed| {
        let mut world = World::new(seed, faults(seed));
        world.run(STEPS);
        let calls = world.links.lock().unwrap().calls;
        let disks: Vec<u64> = world.nodes.iter().map(|node| node.machine().disk.calls()).collect();
        (world.answered, calls, disks)
    };
    for seed in 0..5 {
        assert_eq!(fingerprint(seed), fingerprint(seed), "seed {seed}");
    }
}

#[test]
fn full_disks_refuse_files_and_take_them_again() {
    let mut no_room = 0;
    for seed in 0..20 {
        let mut world = World::new(seed, Faults { full_disks: true, ..Faults::default() });
        world.run(4 * STEPS);
        no_room += world.no_room;
        world.make_whole();
        let (refused, answered) = (world.no_room, world.answered);
        assert!(world.guarded(|world| world.store("a", b"there is room again", 9)));
        assert_eq!((world.no_room, world.answered), (refused, answered + 1), "seed {seed}");
    }
    assert!(no_room > 0, "some store has found too few nodes with room");
}

#[test]
fn the_canary_disks_that_lie_about_syncing_are_caught() {
    let caught = (0..30).filter(|seed| {
        let lying = Faults { node_crashes: true, lies: true, ..Faults::default() };
        panic::catch_unwind(AssertUnwindSafe(|| run(*seed, lying))).is_err()
    });
    assert!(caught.count() > 0, "a store that is not on disk must be noticed to be lost");
}

#[test]
fn the_canary_stores_that_are_answered_with_two_pieces_are_caught() {
    const CANARY_SEEDS: u64 = 40;
    let caught = |hollow| {
        let faults = Faults { rot: true, disk_loss: true, hollow, ..Faults::default() };
        let fails = |seed: &u64| panic::catch_unwind(|| run(*seed, faults)).is_err();
        (0..CANARY_SEEDS).filter(fails).count()
    };
    assert_eq!(caught(false), 0, "three pieces survive one node's rot and the server's disk");
    let caught = caught(true);
    println!("{caught} of {CANARY_SEEDS} seeds notice that there were only two");
    assert!(caught > 0, "a store that was answered too early must be noticed to be lost");
}

/// What is done while something crashes.
const DOINGS: [&str; 6] = ["store", "overwrite", "delete", "move", "move over", "move folder"];

/// Who crashes: a node (0 to 3) at the n-th call to its disk, or the server (4) at its n-th call to
/// a node. Afterwards the server's disk is lost as well, if two nodes are given that are then at
/// hand. False if nothing crashed, since what was done has fewer calls.
fn crash_at(doing: &str, who: usize, n: u64, at_hand: Option<[usize; 2]>) -> bool {
    let old = b"the old content";
    let mut world = World::new(n, Faults::default());
    if doing != "store" {
        assert!(world.guarded(|world| world.store("x/a", old, 9)));
        assert!(world.guarded(|world| world.store("b", b"another file", 9)));
        assert!(world.guarded(World::attend));
    }
    match who {
        4 => world.links.lock().unwrap().crash_in = Some(n),
        node => world.nodes[node].machine().disk.crash_in(n),
    }
    let went_on = world.guarded(|world| {
        match doing {
            "delete" => world.delete("x/a"),
            "move" => world.move_file("x/a", "a"),
            "move over" => world.move_file("x/a", "b"),
            "move folder" => world.move_folder("x", "z"),
            _ => world.store("x/a", b"the new and longer content", 9),
        }
        world.attend();
    });
    let crashed = if who == 4 { !went_on } else { world.nodes[who].ends() > 0 };
    if let Some(at_hand) = at_hand {
        world.lose_server(&at_hand);
    }
    world.make_whole();
    match doing {
        "move" => world.assert_in_one_of(old, ["x/a", "a"]),
        "move over" => world.assert_in_one_of(old, ["x/a", "b"]),
        "move folder" => world.assert_in_one_of(old, ["x/a", "z/a"]),
        _ => {}
    }
    crashed
}

#[test]
fn every_crash_point_of_a_small_file_leaves_the_old_or_the_new() {
    for doing in DOINGS {
        let points = [0, 1, 2, 3, 4].map(|who| {
            let crashes = (1..).take_while(|n| crash_at(doing, who, *n, None)).count();
            assert!(crashes > 2, "{doing}: {who} has crash points");
            crashes
        });
        let all: usize = points.iter().sum();
        println!("{doing}: {all} crash points: {points:?} of nodes 1 to 4 and the server");
    }
}

#[test]
fn every_crash_point_of_a_move_leaves_it_made_or_not_if_the_server_is_lost_too() {
    let mut points = 0;
    for doing in ["move", "move over", "move folder"] {
        for (who, at_hand) in [(0, [0, 1]), (0, [1, 2]), (3, [2, 3]), (4, [0, 3]), (4, [1, 2])] {
            let crashes = (1..).take_while(|n| crash_at(doing, who, *n, Some(at_hand))).count();
            assert!(crashes > 2, "{doing}: {who} has crash points");
            points += crashes;
        }
    }
    println!("{points} crash points of moves, each followed by a recovery from two nodes");
}

#[test]
fn no_node_is_told_of_a_move_before_three_have_its_record() {
    let mut world = World::new(4, Faults::default());
    world.store("x/a", b"what is moved", 9);
    world.attend();
    let hang = |world: &World, process| {
        world.nodes[2..].iter().for_each(|node| node.machine().process = process);
    };
    let is_at = |world: &World, name: &str| {
        world.nodes[0].machine().disk.files().contains_key(std::path::Path::new(name))
    };
    hang(&world, Process::Hung);
    world.move_file("x/a", "b");
    assert_eq!(world.moved, 0, "not answered");
    (0..3).for_each(|_| world.attend());
    assert!(is_at(&world, "/files/demo/x/a_A1") && !is_at(&world, "/files/demo/b_A1"));
    world.read("b", 9);
    world.assert_in_one_of(b"what is moved", ["x/a", "b"]);
    hang(&world, Process::Running);
    (0..3).for_each(|_| world.attend());
    assert!(!is_at(&world, "/files/demo/x/a_A1") && is_at(&world, "/files/demo/b_A1"));
    world.make_whole();
}

/// As [`crash_at`], while node 1 is replaced; 0 is the new one then.
fn crash_in_replacing(who: usize, n: u64) -> bool {
    let mut world = World::new(n, Faults::default());
    assert!(world.guarded(|world| {
        world.store("x/a", b"what must be on the new node", 9);
        world.store("b", b"and this", 9);
        world.attend();
    }));
    let spare = world.start_spare();
    match who {
        0 => spare.machine().disk.crash_in(n),
        4 => world.links.lock().unwrap().crash_in = Some(n),
        other => world.nodes[other].machine().disk.crash_in(n),
    }
    let went_on = world.guarded(|world| {
        world.replace();
        (0..4).for_each(|_| world.attend());
    });
    let crashed = match who {
        0 => spare.ends() > 0,
        4 => !went_on,
        other => world.nodes[other].ends() > 0,
    };
    if !crashed {
        assert!(world.is_replaced(), "nothing crashed, so it is done");
    }
    world.finish_replacing();
    world.make_whole();
    assert!(std::sync::Arc::ptr_eq(&world.nodes[0], &spare));
    crashed
}

#[test]
fn every_crash_point_of_replacing_a_node_ends_in_a_whole_one() {
    let mut points = 0;
    for who in 0..5 {
        let crashes = (1..).take_while(|n| crash_in_replacing(who, *n)).count();
        assert!(crashes > 2, "{who} has crash points");
        points += crashes;
    }
    println!("replace: {points} crash points");
}

#[test]
fn a_node_that_is_not_empty_does_not_replace_another() {
    let mut world = World::new(1, Faults::default());
    world.store("x/a", b"what is on the old node", 9);
    world.attend();
    let spare = world.start_spare();
    assert!(!world.replace_by("nobody:1"), "nobody is there");
    assert!(!world.replace_by("node:2"), "it is node 2");
    assert!(!world.replace_by("node:1"), "it is the node itself, which is not empty");
    world.nodes[0] = spare;
    world.mend(0);
    assert!(world.replace());
    assert!(world.replace(), "once more goes on with it");
    world.finish_replacing();
    world.make_whole();
}

#[test]
fn files_that_need_the_old_node_keep_it_from_being_replaced() {
    let mut world = World::new(2, Faults::default());
    world.store("x/a", b"soon on two nodes only", 9);
    world.attend();
    (2..4).for_each(|node| world.nodes[node].end(false));
    world.lose("x/a", &[2, 3]);
    world.start_spare();
    assert!(!world.replace());
    assert_eq!(world.files_at_risk(), ["/demo/x/a"]);
}

#[test]
fn a_node_that_cannot_take_pieces_is_left_alone_for_longer_and_longer() {
    let mut world = World::new(3, Faults::default());
    world.nodes[0].end(false);
    world.attend();
    world.store("x/a", b"on three of four", 9);
    world.nodes[0].start();
    world.nodes[0].machine().disk.leave_free(Some(0));
    (0..20).for_each(|_| world.attend());
    let calls = |world: &World| world.nodes[0].machine().disk.calls();
    let before = calls(&world);
    (0..200).for_each(|_| world.attend());
    let tried = calls(&world) - before;
    assert!(tried < 60, "{tried} calls to a full disk in 200 seconds");
    world.make_whole();
}

//! One thing is done, and something crashes at each of the calls that it takes: then there is what was
//! before or what was wanted.

use std::panic::{self, AssertUnwindSafe};

use palk::core::cluster::retention::Keep;
use palk::core::types::VersionId;
use palk::core::wire::extended::When;

use super::DEMO;
use super::faults::Faults;
use super::node::Event;
use super::set_back::{Pace, WasSetBack};
use super::snapshots::at_snapshot;
use super::upload::Label;
use super::uploading::Source;
use super::whole::PAIRS;
use super::world::World;

/// What is done while something crashes.
const DOINGS: [&str; 29] = [
    "store small",
    "store large",
    "overwrite small",
    "overwrite large",
    "delete",
    "move",
    "move over",
    "move folder",
    "copy over",
    "copy folder",
    "remove folder",
    "undo overwriting",
    "undo deletion",
    "undo move",
    "undo removal",
    "group",
    "set back file",
    "set back folder",
    "set back everything",
    "set back to snapshot",
    "undo setting back",
    "make snapshot",
    "remove snapshot",
    "break off",
    "go on and complete",
    "store kept",
    "complete parts",
    "drop upload",
    "set time",
];

/// Who crashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Who {
    /// A node, at the n-th call to its disk.
    Node(usize),
    /// The server, before its n-th call to a node or after it.
    ServerBefore,
    ServerAfter,
    /// Nobody: a second server takes over before the n-th call.
    TakenOver,
}

const ALL_WHO: [Who; 7] = [
    Who::Node(0),
    Who::Node(1),
    Who::Node(2),
    Who::Node(3),
    Who::ServerBefore,
    Who::ServerAfter,
    Who::TakenOver,
];

pub(crate) fn small(tag: u8) -> Vec<u8> {
    vec![tag; 700]
}

pub(crate) fn large(tag: u8) -> Vec<u8> {
    vec![tag; 270_000]
}

fn prepare(world: &mut World, doing: &str) {
    let is_large = doing.ends_with("large");
    if !doing.starts_with("store") {
        let old = if is_large { large(1) } else { small(1) };
        assert!(world.store(DEMO, "x/a", &old, 9));
        assert!(world.store(DEMO, "b", &small(2), 9));
        world.attend();
    }
    if doing.contains("set") || doing == "remove snapshot" {
        prepare_past(world);
    }
    prepare_upload(world, doing);
    let is_done = match doing {
        "undo overwriting" => world.store(DEMO, "x/a", &small(3), 9),
        "undo deletion" => world.delete(DEMO, "x/a"),
        "undo move" => world.relocate(DEMO, "x/a", "b"),
        "undo removal" => world.remove_folder(DEMO, "x"),
        "undo setting back" => set_back(world, "x"),
        _ => return,
    };
    assert!(is_done, "{doing}");
    world.attend();
}

/// What has come of an upload, by bytes or by parts; one of these is a range of a file that is gone.
fn prepare_upload(world: &mut World, doing: &str) {
    let content = || large(5).repeat(8);
    match doing {
        "go on and complete" => {
            let half = Some(1_100_000);
            assert!(world.store_kept(DEMO, "x/a", content(), half, 9));
        }
        "complete parts" | "drop upload" => {
            assert!(world.store(DEMO, "a", &large(6), 9));
            let upload = begin_parts(world, "x/a");
            let source = Source { path: "a", snapshot: None, range: Some([9, 200_000]) };
            assert!(world.copy_part(DEMO, upload, 2, &source));
            assert!(world.store_part(DEMO, upload, 1, &small(7), None, 9));
            assert!(world.delete(DEMO, "a"));
        }
        _ => return,
    }
    world.attend();
}

fn begin_parts(world: &mut World, path: &str) -> (VersionId, Label) {
    world.begin_upload(DEMO, path, None, None).unwrap();
    the_upload(world)
}

fn the_upload(world: &mut World) -> (VersionId, Label) {
    let own = &world.uploads(DEMO)[0];
    (own.id, own.attributes.modified_ms.unwrap())
}

/// What there is gets a name, and its moment is noted; then it becomes something else.
fn prepare_past(world: &mut World) {
    world.remove_snapshot("before");
    assert!(world.make_snapshot("before", None));
    let before = world.server().cluster.catalog.moment_of("before").unwrap();
    world.was_set_back = vec![WasSetBack { user: DEMO, path: "x".to_owned(), before }];
    assert!(world.store(DEMO, "x/a", &small(3), 9));
    assert!(world.store(DEMO, "x/y/c.txt", &small(4), 9));
    assert!(world.delete(DEMO, "b"));
    world.attend();
}

fn set_back(world: &mut World, path: &str) -> bool {
    let before = When::At(world.was_set_back[0].before);
    world.set_back(DEMO, path, &before, Pace::AtOnce)
}

/// Nothing is kept but where it is to be brought back, and no snapshot has it.
fn faults_of(doing: &str) -> Faults {
    let is_kept = doing.starts_with("undo") || doing.starts_with("set back");
    let keep = match is_kept && doing != "set back to snapshot" {
        true => Keep::Forever,
        false => Keep::Nothing,
    };
    Faults { keep, ..Faults::default() }
}

fn act(world: &mut World, doing: &str) {
    match doing {
        "store small" | "overwrite small" => world.store(DEMO, "x/a", &small(3), 9),
        "store large" | "overwrite large" => world.store(DEMO, "x/a", &large(3), 9),
        "delete" => world.delete(DEMO, "x/a"),
        "move" => world.relocate(DEMO, "x/a", "a"),
        "move over" => world.relocate(DEMO, "x/a", "b"),
        "move folder" => world.relocate(DEMO, "x", "z"),
        "copy over" => world.copy(DEMO, "x/a", "b"),
        "copy folder" => world.copy(DEMO, "x", "z"),
        "set time" => world.set_time(DEMO, "x/a"),
        "remove folder" => world.remove_folder(DEMO, "x"),
        "undo overwriting" | "undo deletion" => world.undo(DEMO, "x/a"),
        "undo move" => world.undo(DEMO, "b"),
        "undo removal" | "undo setting back" => world.undo(DEMO, "x"),
        "set back file" => set_back(world, "x/a"),
        "set back folder" => set_back(world, "x"),
        "set back everything" => set_back(world, ""),
        "set back to snapshot" => world.set_back(DEMO, "x", &at_snapshot("before"), Pace::AtOnce),
        "break off" => world.store_kept(DEMO, "b", large(3).repeat(7), Some(1_500_000), 9),
        "store kept" => world.store_kept(DEMO, "x/a", large(3).repeat(8), None, 9),
        "go on and complete" => {
            let upload = the_upload(world);
            world.send_to(DEMO, upload, 270_000 * 8, None, 9)
                && world.complete_upload(DEMO, upload.0, upload.1)
        }
        "complete parts" => {
            let (id, label) = the_upload(world);
            world.complete_upload(DEMO, id, label)
        }
        "drop upload" => {
            let (id, label) = the_upload(world);
            world.drop_upload(DEMO, id, label)
        }
        "make snapshot" => world.make_snapshot("before", None),
        "remove snapshot" => world.remove_snapshot("before"),
        _ => {
            world.group();
            true
        }
    };
}

/// Runs this; if it fails, says what it was about.
pub(crate) fn about<T>(what: &str, run: impl FnOnce() -> T) -> T {
    panic::catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|payload| {
        eprintln!("failed: {what}");
        panic::resume_unwind(payload)
    })
}

/// True if anything crashed: what was done has at least so many calls.
fn crash_at(doing: &str, who: Who, n: u64, is_lost: Option<[usize; 2]>) -> bool {
    about(&format!("{doing}, {who:?} at call {n}, lost but {is_lost:?}"), || {
        try_crash_at(doing, who, n, is_lost)
    })
}

fn try_crash_at(doing: &str, who: Who, n: u64, is_lost: Option<[usize; 2]>) -> bool {
    let mut world = World::new(n, faults_of(doing));
    prepare(&mut world, doing);
    match who {
        Who::Node(which) => world.nodes[which].disk().crash_in(n),
        Who::ServerBefore => world.links().order(n, Event::CrashBefore),
        Who::ServerAfter => world.links().order(n, Event::CrashAfter),
        Who::TakenOver => world.order_take_over(n),
    }
    let went_on = world.guarded(|world| {
        act(world, doing);
        world.attend();
    });
    let crashed = match who {
        Who::Node(which) => world.nodes[which].ends() > 0,
        Who::ServerBefore | Who::ServerAfter => !went_on,
        Who::TakenOver => world.admit_begun(),
    };
    if let Some(pair) = is_lost {
        world.lose_servers(pair);
    }
    world.make_whole();
    crashed
}

#[test]
fn every_crash_point_leaves_the_old_or_the_new_stored_file() {
    every_crash_point(&DOINGS[..5]);
}

#[test]
fn every_crash_point_leaves_the_old_or_the_new_place() {
    every_crash_point(&DOINGS[5..8]);
}

#[test]
fn every_crash_point_leaves_the_old_or_the_new_copy() {
    every_crash_point(&DOINGS[8..11]);
}

#[test]
fn every_crash_point_leaves_what_was_or_what_was_undone() {
    every_crash_point(&DOINGS[11..16]);
}

#[test]
fn every_crash_point_leaves_what_is_or_what_was_then() {
    every_crash_point(&DOINGS[16..21]);
}

#[test]
fn every_crash_point_leaves_a_snapshot_or_none() {
    every_crash_point(&DOINGS[21..23]);
}

#[test]
fn every_crash_point_leaves_an_upload_as_far_as_it_was_or_further() {
    every_crash_point(&DOINGS[23..25]);
}

#[test]
fn every_crash_point_leaves_an_upload_or_the_whole_stored_file() {
    every_crash_point(&DOINGS[25..26]);
}

#[test]
fn every_crash_point_leaves_an_upload_or_its_file_or_nothing() {
    every_crash_point(&DOINGS[26..28]);
}

#[test]
fn every_crash_point_leaves_the_old_or_the_new_time() {
    every_crash_point(&DOINGS[28..]);
}

/// One test would take as long as all of them together.
///
/// The second half of what is done takes long. Each node then crashes at every fourth of its calls, which are
/// other ones on each, unless `PALK_SIM_POINTS` is `all`.
fn every_crash_point(doings: &[&'static str]) {
    let is_long = |doing| DOINGS[DOINGS.len() / 2..].contains(&doing);
    let is_all = std::env::var("PALK_SIM_POINTS").is_ok_and(|which| which == "all");
    for doing in doings.iter().copied() {
        let points = ALL_WHO.map(|who| {
            let (first, step) = match who {
                Who::Node(which) if is_long(doing) && !is_all => (which as u64 + 1, 4),
                _ => (1, 1),
            };
            let calls = (first..).step_by(step);
            let crashes = calls.take_while(|n| crash_at(doing, who, *n, None)).count();
            assert!(crashes > 2, "{doing}: {who:?} has crash points");
            crashes
        });
        let all: usize = points.iter().sum();
        println!(
            "{doing}: {all} crash points: {points:?} of nodes 1 to 4, the server, a take-over"
        );
    }
}

#[test]
fn every_crash_point_leaves_the_old_or_the_new_if_the_server_is_lost_too() {
    let mut points = 0;
    for doing in [
        "store small",
        "overwrite small",
        "move over",
        "move folder",
        "undo removal",
        "set back folder",
        "store kept",
        "complete parts",
    ] {
        for (who, pair) in [
            (Who::Node(0), [0, 1]),
            (Who::Node(3), [2, 3]),
            (Who::ServerBefore, [0, 3]),
            (Who::ServerAfter, [1, 2]),
        ] {
            points += (1..).take_while(|n| crash_at(doing, who, *n, Some(pair))).count();
        }
    }
    println!("{points} crash points, each followed by a recovery from two nodes");
}

#[test]
fn every_answered_change_survives_the_loss_of_the_servers_disk_from_every_pair_of_nodes() {
    let mut world = World::new(11, Faults { keep: Keep::Forever, ..Faults::default() });
    let check = |world: &mut World| {
        let own = world.dump(&world.servers[0].cluster.catalog.clone());
        for pair in PAIRS {
            world.check_recoverable(pair, &own);
        }
    };
    for doing in DOINGS {
        prepare(&mut world, doing);
        act(&mut world, doing);
        check(&mut world);
    }
    world.change_accounts(&mut |world| check(world));
    world.make_whole();
}

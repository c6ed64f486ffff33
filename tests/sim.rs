//! The real block store, catalog, replication and all workers, in one thread under one seed, on
//! simulated disks and links: crashes between any two steps, lost writes, lost and repeated calls, I/O
//! errors, full disks, folders of nodes that are emptied, put back or vanish, catalogs that are lost or put
//! back, servers that take over from each other. Afterwards faults stop, and the cluster must become
//! whole.
//!
//! A failure names its seed; `PALK_SIM_SEED=N cargo nextest run --test sim one_seed` repeats it
//! exactly (`PALK_SIM_KIND=take-over` one of the other kind of runs), and
//! `PALK_SIM_SEEDS=N cargo nextest run --release --test sim` runs any number.

#[path = "sim/change.rs"]
mod change;
#[path = "sim/clock.rs"]
mod clock;
#[path = "sim/contents.rs"]
mod contents;
#[path = "sim/crashes.rs"]
mod crashes;
#[path = "support/deadlocks.rs"]
mod deadlocks;
#[path = "sim/disk.rs"]
mod disk;
#[path = "sim/faults.rs"]
mod faults;
#[path = "sim/model.rs"]
mod model;
#[path = "sim/node.rs"]
mod node;
#[path = "sim/past.rs"]
mod past;
#[path = "sim/replace.rs"]
mod replace;
#[path = "sim/run.rs"]
mod run;
#[path = "sim/sending.rs"]
mod sending;
#[path = "sim/server.rs"]
mod server;
#[path = "sim/set_back.rs"]
mod set_back;
#[path = "sim/slow.rs"]
mod slow;
#[path = "sim/snapshots.rs"]
mod snapshots;
#[path = "sim/state.rs"]
mod state;
#[path = "sim/tally.rs"]
mod tally;
#[path = "sim/tamper.rs"]
mod tamper;
#[path = "sim/upload.rs"]
mod upload;
#[path = "sim/upload_runs.rs"]
mod upload_runs;
#[path = "sim/uploading.rs"]
mod uploading;
#[path = "sim/users.rs"]
mod users;
#[path = "sim/view.rs"]
mod view;
#[path = "sim/what_was.rs"]
mod what_was;
#[path = "sim/whole.rs"]
mod whole;
#[path = "sim/workers.rs"]
mod workers;
#[path = "sim/world.rs"]
mod world;

use std::ops::Range;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::time::Duration;

use palk::core::cluster::retention::Keep;
use palk::core::types::NodeId;

use change::{Change, What};
use contents::digest;
use crashes::{Who, about, large, small};
use disk::ROOT;
use faults::Faults;
use model::{Answer, Model};
use node::{Event, Process};
use past::KEEPS;
use server::USERS;
use state::Item;
use tally::Tally;
use world::World;

/// Seeds that CI runs, for each kind of faults.
const SEEDS: u64 = 60;

/// Events in one run.
const STEPS: u32 = 60;

/// The user whose files the enumerated crashes are about.
const DEMO: &str = USERS[0];

/// Which seeds are run: `PALK_SIM_SEEDS` is how many, or `FROM..TO` where several machines share them.
fn seed_range() -> Range<u64> {
    let Ok(text) = std::env::var("PALK_SIM_SEEDS") else { return 0..SEEDS };
    let (from, to) = text.split_once("..").unwrap_or(("0", &text));
    let [from, to] = [from, to].map(|number| number.parse().expect("PALK_SIM_SEEDS is a number"));
    from..to
}

fn seeds() -> u64 {
    let Range { start, end } = seed_range();
    end - start
}

/// For how long a run keeps what was replaced or deleted.
fn kept(seed: u64) -> Keep {
    KEEPS[usize::try_from(seed / 3 % 3).unwrap()]
}

/// Runs of one server at a time, in which nodes and catalogs lose what they have.
fn one_server(seed: u64) -> Faults {
    Faults {
        node_crashes: true,
        server_crashes: !seed.is_multiple_of(3),
        loss: seed.is_multiple_of(2),
        disk_errors: seed.is_multiple_of(5),
        full_disks: seed.is_multiple_of(7),
        rot: seed.is_multiple_of(4),
        damage: seed % 4 != 1,
        scrubs: seed.is_multiple_of(3),
        disk_loss: seed % 3 == 1,
        no_links: seed % 11 == 3,
        keep: kept(seed),
        ..Faults::default()
    }
}

/// Runs of up to three servers at a time.
fn several_servers(seed: u64) -> Faults {
    Faults {
        take_overs: true,
        node_crashes: seed.is_multiple_of(2),
        server_crashes: seed % 4 == 1,
        loss: seed.is_multiple_of(3),
        damage: seed % 3 == 1,
        keep: kept(seed),
        ..Faults::default()
    }
}

/// Runs in which folders are lost and put back: the server's, and those of nodes.
fn older_copies(seed: u64) -> Faults {
    Faults {
        node_crashes: true,
        server_crashes: seed % 4 == 1,
        loss: seed % 4 == 3,
        damage: true,
        disk_loss: true,
        keep: kept(seed),
        ..Faults::default()
    }
}

fn run(seed: u64, faults: Faults) -> Tally {
    let mut world = World::new(seed, faults);
    world.run(STEPS);
    world.make_whole();
    world.tally
}

/// Runs all seeds; those that fail are named.
fn run_all(kind: &str, faults: fn(u64) -> Faults) -> Tally {
    let (mut all, mut failed) = (Tally::default(), Vec::new());
    for seed in seed_range() {
        match panic::catch_unwind(AssertUnwindSafe(|| run(seed, faults(seed)))) {
            Ok(tally) => all += tally,
            Err(_) => {
                eprintln!(
                    "failed: PALK_SIM_KIND={kind} PALK_SIM_SEED={seed} repeats it with one_seed"
                );
                failed.push(seed);
            }
        }
    }
    println!("{} seeds: {all:?}", seeds());
    assert!(failed.is_empty(), "{kind}: seeds that failed: {failed:?}");
    all
}

#[test]
fn nothing_answered_is_lost_whatever_crashes() {
    let all = run_all("one-server", one_server);
    assert!(all.answered > 3 * seeds() && all.moved > seeds() / 4, "the runs do something");
    assert!(all.copied > seeds() / 15 && all.moved + all.copied > seeds() / 2);
    assert!(all.times_set > seeds() / 10, "{all:?}");
    assert!(all.groups > seeds() && all.read > seeds() && all.in_doubt > seeds() / 10);
    assert!(all.recoveries > seeds() / 10 && all.damaged > seeds() / 4 && all.undone > seeds() / 6);
}

#[test]
fn nothing_answered_is_lost_when_servers_take_over_from_each_other() {
    let all = run_all("take-over", several_servers);
    assert!(all.taken_over > seeds() && all.answered > seeds(), "the runs do something");
}

#[test]
fn nothing_answered_is_lost_when_folders_are_put_back() {
    let all = run_all("older-copies", older_copies);
    assert!(all.answered > 3 * seeds() && all.read > seeds(), "the runs do something");
    assert!(
        all.put_back > seeds() / 3 && all.recoveries > seeds() / 3 && all.damaged > seeds() / 3
    );
}

#[test]
fn one_seed() {
    let seed = std::env::var("PALK_SIM_SEED").ok().and_then(|text| text.parse().ok());
    if seed.is_some() {
        // Whoever repeats a seed wants to see what the server says.
        tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_test_writer()
            .without_time()
            .init();
    }
    let seed = seed.unwrap_or(0);
    let faults = match std::env::var("PALK_SIM_KIND").as_deref() {
        Ok("take-over") => several_servers(seed),
        Ok("older-copies") => older_copies(seed),
        Ok("uploads") => upload_runs::uploads(seed),
        Ok("what-was") => what_was::what_was(seed),
        _ => one_server(seed),
    };
    println!("{:?}", run(seed, faults));
}

#[test]
fn a_seed_repeats_exactly() {
    let fingerprint = |seed, faults| {
        let mut world = World::new(seed, faults);
        world.run(STEPS);
        let calls = world.links().calls;
        let disks: Vec<u64> = world.nodes.iter().map(|node| node.disk().calls()).collect();
        (world.tally, calls, disks)
    };
    for seed in 0..5 {
        for faults in [one_server(seed), several_servers(seed)] {
            assert_eq!(fingerprint(seed, faults), fingerprint(seed, faults), "seed {seed}");
        }
    }
}

#[test]
fn full_disks_refuse_files_and_take_them_again() {
    let mut no_room = 0;
    for seed in 0..20 {
        let mut world = World::new(seed, Faults { full_disks: true, ..Faults::default() });
        world.run(4 * STEPS);
        no_room += world.tally.no_room;
        world.make_whole();
        let answered = world.tally.answered;
        assert!(world.guarded(|world| {
            world.remove_folder(DEMO, "b");
            world.store(DEMO, "b", b"there is room again", 9);
        }));
        assert!(world.tally.answered > answered, "seed {seed}");
    }
    assert!(no_room > 0, "some store has found too few nodes with room");
}

// ---- canaries ----

/// How many of the first seeds fail under these faults.
fn failures(seeds: u64, faults: Faults) -> u64 {
    let fails = |seed: &u64| panic::catch_unwind(|| run(*seed, faults)).is_err();
    (0..seeds).filter(fails).count() as u64
}

#[test]
fn the_canary_disks_that_lie_about_syncing_are_caught() {
    let faults = Faults { node_crashes: true, disk_loss: true, ..Faults::default() };
    assert_eq!(failures(15, faults), 0, "honest disks keep what was answered");
    let caught = failures(15, Faults { lies: true, ..faults });
    println!("{caught} of 15 seeds notice the lies");
    assert!(caught > 0, "an entry that is not on disk must be noticed to be lost");
}

#[test]
fn the_canary_a_server_that_commits_with_two_nodes_is_caught() {
    let faults = Faults { node_crashes: true, disk_loss: true, ..Faults::default() };
    assert_eq!(failures(15, faults), 0, "three journals survive the loss of the server's disk");
    let hollow = Faults { hollow: true, ..faults };
    let caught = (0..200).find(|seed| panic::catch_unwind(|| run(*seed, hollow)).is_err());
    println!("seed {caught:?} notices that there were only two");
    assert!(caught.is_some(), "a change that was answered too early must be noticed to be lost");
}

/// Something crashes at the n-th call, while node 1 is replaced; node 0 is the new one then.
fn crash_in_replacing(who: Who, n: u64) -> bool {
    let mut world = World::new(n, Faults::default());
    assert!(world.guarded(|world| {
        world.store(DEMO, "x/a", b"what must be on the new node", 9);
        world.store(DEMO, "b", b"and this", 9);
        world.attend();
    }));
    let spare = world.start_spare();
    match who {
        Who::Node(0) => spare.disk().crash_in(n),
        Who::Node(other) => world.nodes[other].disk().crash_in(n),
        Who::ServerAfter => world.links().order(n, Event::CrashAfter),
        _ => world.links().order(n, Event::CrashBefore),
    }
    let went_on = world.guarded(|world| {
        world.replace();
        (0..4).for_each(|_| world.attend());
        spare.work(10);
    });
    let crashed = match who {
        Who::Node(0) => spare.ends() > 0,
        Who::Node(other) => world.nodes[other].ends() > 0,
        _ => !went_on,
    };
    world.finish_replacing();
    world.make_whole();
    assert!(std::sync::Arc::ptr_eq(&world.nodes[0], &spare));
    crashed
}

#[test]
fn every_crash_point_of_replacing_a_node_ends_in_a_whole_one() {
    let mut points = 0;
    for who in [
        Who::Node(0),
        Who::Node(1),
        Who::Node(2),
        Who::Node(3),
        Who::ServerBefore,
        Who::ServerAfter,
    ] {
        let crashes = (1..).take_while(|n| crash_in_replacing(who, *n)).count();
        assert!(crashes > 2, "{who:?} has crash points");
        points += crashes;
    }
    println!("replace: {points} crash points");
}

#[test]
fn a_node_that_is_not_empty_does_not_replace_another() {
    let mut world = World::new(1, Faults::default());
    world.store(DEMO, "x/a", b"what is on the old node", 9);
    world.attend();
    let spare = world.start_spare();
    assert!(!world.replace_by("nobody:1"), "nobody is there");
    assert!(!world.replace_by("node:2"), "it is node 2");
    world.nodes[0] = spare;
    world.mend(0);
    assert!(world.replace());
    assert!(world.replace(), "once more goes on with it");
    world.finish_replacing();
    world.make_whole();
}

/// While a node is compared that came with an empty folder, its folder is exchanged for another empty
/// one, before the n-th call. False if there are not so many calls.
fn exchange_folder_at(n: u64) -> bool {
    let mut world = World::new(n, Faults::default());
    world.store(DEMO, "x/a", &small(1), 9);
    world.store(DEMO, "b", &large(2), 9);
    world.attend();
    let (node, id) = (world.nodes[2].clone(), NodeId::ALL[2]);
    let empty = move || {
        node.end(false);
        node.disk().wipe(Path::new(ROOT));
        node.start();
    };
    empty();
    let now = world.site.now();
    // It is noticed, and the journal reaches it: that is all that it has.
    let server = world.server();
    server.probe(now);
    server.replicate();
    let cluster = server.cluster.clone();
    assert!(cluster.replication.in_step().contains(id) && cluster.roster.seen(id).has_gap());
    let exchange = move || {
        empty();
        // The sender of the journal may just be making this call: it cannot begin another one.
        if cluster.catalog.begin_group(0).is_err() {
            return;
        }
        (0..3).for_each(|_| _ = cluster.replication.round(id));
    };
    world.links().order(n, Event::Meanwhile(Box::new(exchange)));
    world.server().probe(now + Duration::from_secs(1));
    let was_exchanged = world.links().next.take().is_none();
    world.make_whole();
    was_exchanged
}

#[test]
fn a_fresh_folder_is_never_taken_for_the_one_in_whose_place_it_is() {
    let points = (1..).take_while(|n| about("exchange", || exchange_folder_at(*n))).count();
    println!("{points} moments at which a folder is exchanged");
    assert!(points > 10);
}

#[test]
fn whatever_happens_meanwhile_a_user_goes_on_with_the_same_server() {
    let mut world = World::new(1, Faults { take_overs: true, ..Faults::default() });
    let number = world.server().number;
    for _ in 0..200 {
        world.meanwhile(2);
        assert_eq!(world.server().number, number);
    }
    assert!(world.servers.len() > 1);
}

#[test]
fn what_a_file_was_in_the_way_of_stays_refused_when_that_file_is_taken_back() {
    let mut model = Model::new(&USERS);
    let change = |what| Change { user: DEMO, what };
    let store = |path: &str| {
        let (path, content) = (path.to_owned(), path.as_bytes());
        change(What::Store { path, blake3: digest(content), bytes: 1 })
    };
    let is_file = |item: &Option<Item>| matches!(item, Some(Item::File { .. }));
    let id = model.begin(&[change(What::MakeFolder { path: "z".into() })], false);
    model.end(id, &[Answer::Done]);
    model.begin(&[store("b")], false);
    model.leave_open();
    let relocate = change(What::Move { from: "z".into(), to: "b".into() });
    let id = model.begin(&[store("a"), relocate], true);
    model.end(id, &[Answer::Done, Answer::Refused]);
    assert!(model.at(DEMO, "a").iter().all(is_file), "this was answered");
    assert_eq!(model.at(DEMO, "z"), [Some(Item::Folder)].into());
    let at_b = model.at(DEMO, "b");
    assert!(at_b.len() == 2 && at_b.contains(&None) && at_b.iter().any(is_file), "{at_b:?}");
}

#[test]
fn a_server_that_was_taken_over_does_not_confirm_a_folder_that_it_believes_to_be_there() {
    let mut world = World::new(4, Faults::default());
    assert!(world.make_folder(DEMO, "z"));
    let copy = world.site.copy_of(&world.servers[0].database);
    let mut second = world.site.start(&copy, [false; 4]);
    (0..3).for_each(|_| second.round(world.site.now()));
    world.servers.push(second);
    world.at = 1;
    assert!(world.relocate(DEMO, "z", "x"));
    world.at = 0;
    assert!(world.servers[0].leads(), "it has not learned of it");
    assert!(!world.make_folder(DEMO, "z"));
    world.make_whole();
}

#[test]
fn a_small_file_of_which_two_nodes_have_a_piece_is_not_answered_as_stored() {
    let mut world = World::new(5, Faults::default());
    world.nodes[2].end(false);
    world.attend();
    assert!(world.store(DEMO, "b", &small(1), 9));
    // Node 3 is back, and its journal is behind; node 2 goes down in the next append.
    world.nodes[2].start();
    let now = world.site.now();
    world.server().probe(now);
    world.nodes[1].disk().crash_in(1);
    assert!(!world.store(DEMO, "x/a", &small(2), 9));
    assert_eq!(world.tally.in_doubt, 1);
    world.make_whole();
}

/// A file is stored, and one that is to replace it reaches one node. Another server leads then, and nobody
/// has looked yet what is to become of the file.
fn reach_one_node(world: &mut World, path: &'static str, [before, after]: [&[u8]; 2]) {
    assert!(world.store(DEMO, path, before, 9));
    world.attend();
    for which in [1, 2, 3] {
        world.nodes[which].disk().crash_in(1);
    }
    assert!(!world.store(DEMO, path, after, 9));
    world.nodes.iter().for_each(|node| node.start());
    let newest = world.servers.pop().unwrap().database;
    let (now, server) = (world.site.now(), world.site.start(&newest, [false; 4]));
    world.servers.push(server);
    for _ in 0..3 {
        world.server().probe(now);
        world.server().cluster.take_up.round();
        world.server().replicate();
    }
}

#[test]
fn a_file_whose_store_reached_one_node_is_read_as_it_was_before() {
    let mut world = World::new(5, Faults::default());
    reach_one_node(&mut world, "b", [&small(1), &small(2)]);
    assert_eq!(world.server().cluster.catalog.uncertain().unwrap().len(), 1);
    let before = world.tally.read;
    world.read(DEMO, "b", 0);
    assert_eq!(world.tally.read, before + 1);
    world.make_whole();
}

#[test]
fn a_server_leads_though_two_nodes_are_empty_and_only_the_others_journals_reach_back() {
    let mut world = World::new(7, Faults::default());
    world.store(DEMO, "x/a", &small(1), 9);
    world.store(DEMO, "b", &large(2), 9);
    world.attend();
    // Nodes 1 and 3 get a snapshot, so the server's journal becomes short; then they lose everything.
    for which in [1, 3] {
        world.nodes[which].end(false);
    }
    world.attend();
    let now = world.site.now();
    world.server().cluster.snapshots.snapshot_now(now).unwrap();
    assert_eq!(world.server().cluster.catalog.entries_after(0).unwrap(), None);
    for which in [0, 2] {
        world.nodes[which].end(false);
        world.nodes[which].disk().wipe(Path::new(ROOT));
    }
    world.nodes.iter().for_each(|node| node.start());
    world.servers.clear();
    world.start_server();
    world.make_whole();
}

/// A server with an older catalog starts, and the answer to its n-th call is lost. False if there are not
/// so many calls.
fn lose_answer_at(n: u64) -> bool {
    let mut world = World::new(n, Faults::default());
    let older = world.site.copy_of(&world.servers[0].database);
    world.store(DEMO, "x/a", &small(1), 9);
    world.store(DEMO, "b", &large(2), 9);
    world.attend();
    let mut server = world.site.start(&older, [false; 4]);
    world.links().order(n, Event::AnswerLost);
    let now = world.site.now();
    (0..3).for_each(|_| server.round(now));
    let was_lost = world.links().next.take().is_none();
    world.servers = vec![server];
    world.make_whole();
    was_lost
}

#[test]
fn a_server_whose_take_up_breaks_off_goes_on_from_where_its_catalog_is() {
    let points = (1..).take_while(|n| about("take up", || lose_answer_at(*n))).count();
    println!("{points} calls of which the answer is lost");
    assert!(points > 10);
}

#[test]
fn what_a_node_writes_out_when_a_snapshot_comes_survives_a_loss_of_power() {
    for seed in 0..20 {
        let mut world = World::new(seed, Faults::default());
        world.store(DEMO, "x/a", &small(1), 9);
        world.store(DEMO, "b", &small(2), 9);
        world.nodes[1].machine().process = Process::Hung;
        world.attend();
        world.make_folder(DEMO, "z");
        world.make_folder(DEMO, "e/m");
        let now = world.site.now();
        world.server().cluster.snapshots.snapshot_now(now).unwrap();
        // What the next server has of its journal does not reach back to where that of node 2 ends.
        world.servers.clear();
        world.nodes[1].machine().process = Process::Running;
        let server = world.site.start(&world.database, [false; 4]);
        world.servers.push(server);
        (0..4).for_each(|_| world.server().round(now));
        let state = world.nodes[1].store().unwrap().journal_state().unwrap();
        assert!(state.snapshot > 0 && state.gap.is_none(), "seed {seed}: {state:?}");
        world.nodes[1].end(true);
        world.nodes[1].start();
        world.make_whole();
    }
}

#[test]
fn files_that_need_the_old_node_keep_it_from_being_replaced() {
    let mut world = World::new(2, Faults::default());
    world.store(DEMO, "x/a", b"soon on two nodes only", 9);
    world.attend();
    world.lose(DEMO, "x/a", &[2, 3]);
    world.start_spare();
    assert!(!world.replace());
    assert_eq!(world.files_at_risk(), ["/demo/x/a"]);
}

#[test]
fn a_node_that_cannot_take_pieces_is_left_alone_for_longer_and_longer() {
    let mut world = World::new(3, Faults::default());
    world.nodes[0].end(false);
    world.attend();
    world.store(DEMO, "x/a", &large(1), 9);
    world.nodes[0].start();
    world.nodes[0].disk().leave_free(Some(0));
    (0..20).for_each(|_| world.attend());
    let before = world.nodes[0].machine().staged;
    (0..200).for_each(|_| world.attend());
    let tried = world.nodes[0].machine().staged - before;
    assert!(tried < 20, "{tried} tries with a full disk in 200 seconds");
    world.make_whole();
}

#[test]
fn nothing_that_two_nodes_have_of_a_change_is_shown_before_it_is_decided() {
    let mut world = World::new(4, Faults::default());
    world.store(DEMO, "x/a", b"what is moved", 9);
    world.attend();
    let hang = |world: &World, process| {
        world.nodes[2..].iter().for_each(|node| node.machine().process = process);
    };
    hang(&world, Process::Hung);
    assert!(!world.relocate(DEMO, "x/a", "b"));
    assert_eq!((world.tally.moved, world.tally.in_doubt), (0, 1));
    (0..3).for_each(|_| world.attend());
    world.read(DEMO, "x/a", 9);
    assert!(!world.store(DEMO, "c", b"refused meanwhile", 9));
    assert_eq!(world.tally.in_doubt, 1, "what comes later certainly did not happen");
    hang(&world, Process::Running);
    (0..3).for_each(|_| world.attend());
    let shown = world.server().shows();
    assert!(shown[DEMO].contains_key("b") && !shown[DEMO].contains_key("x/a"));
    world.make_whole();
}

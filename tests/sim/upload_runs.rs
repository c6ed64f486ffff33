//! Runs in which much is about uploads, and what must be noticed in them.

use std::panic;
use std::time::Duration;

use palk::core::error::Code;
use palk::core::serve::store::{Store, Wanted};
use palk::core::types::{FileAttributes, Precondition};

use super::faults::Faults;
use super::past::KEEPS;
use super::sending::Sending;
use super::upload::KEPT_US;
use super::uploading::Source;
use super::users::file;
use super::world::World;
use super::{DEMO, failures, run, run_all, seeds};

const MIB: usize = 1 << 20;

/// In every way in which things go wrong elsewhere.
pub(crate) fn uploads(seed: u64) -> Faults {
    Faults {
        uploads: true,
        history: seed % 5 == 3,
        clocks: seed % 4 == 3,
        take_overs: seed % 4 == 2,
        disk_loss: seed % 4 != 2 && seed.is_multiple_of(3),
        node_crashes: !seed.is_multiple_of(3),
        server_crashes: seed % 3 == 1,
        damage: !seed.is_multiple_of(4),
        scrubs: seed % 8 == 1,
        rot: seed % 9 == 4,
        disk_errors: seed % 10 == 7,
        loss: seed % 7 == 1,
        full_disks: seed % 13 == 5,
        keep: KEEPS[usize::try_from(seed / 2 % 3).unwrap()],
        ..Faults::default()
    }
}

#[test]
fn nothing_answered_is_lost_of_uploads() {
    let all = run_all("uploads", uploads);
    assert!(all.parts > seeds() && all.broken_off > seeds() / 2, "the runs do something");
    assert!(all.joined > seeds() && all.shared > seeds() / 2 && all.taken_over > seeds() / 4);
}

fn days(count: i64) -> Duration {
    Duration::from_micros(u64::try_from(count * KEPT_US).unwrap())
}

#[test]
fn an_upload_is_dropped_when_it_is_idle_and_not_while_somebody_sends_it() {
    let mut world = World::new(1, Faults::default());
    let content = world.noise(3 * MIB + 5);
    let bytes = Some(content.len() as u64);
    let id = world.begin_upload(DEMO, "b", bytes, Some(content.clone())).unwrap();
    let label = world.uploads(DEMO)[0].attributes.modified_ms.unwrap();
    assert!(world.send_to(DEMO, (id, label), MIB, None, 9));
    let files = world.server().files.clone();
    let owner = world.user(DEMO).unwrap();
    let mut store = files.send(&owner, id, MIB as u64, 5).unwrap();
    store.room().unwrap().copy_from_slice(b"later");
    store.push().unwrap();
    world.pass(days(2));
    (0..3).for_each(|_| world.attend());
    assert_eq!(world.uploads(DEMO).len(), 1, "somebody sends it");
    drop(store);
    // A part that is sent is one of an upload that is sent.
    let parts = world.begin_upload(DEMO, "a", None, None).unwrap();
    let store = files.store_numbered(&owner, parts, 7, 5).unwrap();
    (0..3).for_each(|_| world.attend());
    let left: Vec<_> = world.uploads(DEMO).into_iter().map(|own| own.id).collect();
    assert_eq!(left, [parts], "nobody has gone on with the other");
    world.pass(days(2));
    (0..3).for_each(|_| world.attend());
    assert_eq!(world.uploads(DEMO).len(), 1, "somebody sends a part of it");
    drop(store);
    world.make_whole();
}

/// A file of which a range is shared by two others, of which one goes with it.
#[test]
fn a_joined_file_outlives_all_that_it_shares_with() {
    let mut world = World::new(2, Faults::default());
    let source = world.noise(2 * MIB + 700);
    assert!(world.store(DEMO, "x/a", &source, 9));
    for path in ["a", "b"] {
        let id = world.begin_upload(DEMO, path, None, None).unwrap();
        let label = world.uploads(DEMO)[0].attributes.modified_ms.unwrap();
        let range = Some([MIB as u64 - 3, source.len() as u64 - 9]);
        let source = Source { path: "x/a", snapshot: None, range };
        assert!(world.copy_part(DEMO, (id, label), 2, &source));
        let whole = Source { range: None, ..source };
        assert!(world.copy_part(DEMO, (id, label), 4, &whole));
        let first = world.noise(3 * MIB + 1);
        assert!(world.store_part(DEMO, (id, label), 1, &first, None, 9));
        assert!(world.store_part(DEMO, (id, label), 3, b"replaced", None, 9));
        assert!(world.remove_part(DEMO, (id, label), 3));
        assert!(world.complete_upload(DEMO, id, label));
    }
    assert!(world.copy(DEMO, "b", "c") && world.store(DEMO, "x/a", b"replaced", 9));
    world.settle_down();
    world.read(DEMO, "a", 9);
    assert!(world.delete(DEMO, "a") && world.delete(DEMO, "b"));
    world.settle_down();
    let before = world.tally.read;
    world.read(DEMO, "c", 9);
    assert_eq!(world.tally.read, before + 1);
    world.make_whole();
}

/// A part that breaks off takes the place of the one that was there, and is completed as it is.
#[test]
fn a_part_that_breaks_off_is_what_has_come_of_it() {
    let mut world = World::new(3, Faults::default());
    let id = world.begin_upload(DEMO, "b", None, None).unwrap();
    let label = world.uploads(DEMO)[0].attributes.modified_ms.unwrap();
    assert!(world.store_part(DEMO, (id, label), 1, b"what was there", None, 9));
    let content = world.noise(4 * MIB + 9);
    for stop in [3 * MIB + 1, 4 * MIB, 4 * MIB + 9, 2 * MIB] {
        let (begun, span, stop) = (None, 0..content.len(), Some(stop));
        let sending = Sending {
            user: DEMO,
            label,
            begun,
            number: 1,
            content: &content,
            span,
            stop,
            depth: 9,
        };
        assert!(world.send(id, &sending));
    }
    assert_eq!(world.uploads(DEMO)[0].arrived(), 2 << 20);
    assert!(world.complete_upload(DEMO, id, label));
    world.make_whole();
}

/// A file whose upload somebody drops while it is sent is not stored, and leaves no upload without its
/// beginning.
#[test]
fn an_upload_that_is_dropped_while_its_file_is_sent_does_not_begin_again() {
    let mut world = World::new(3, Faults::default());
    let (files, owner, upload) =
        (world.server().files.clone(), world.user(DEMO).unwrap(), world.version());
    let (at, content) = (file("b"), world.noise(4 * MIB));
    let wanted = Wanted {
        path: &at,
        bytes: content.len() as u64,
        precondition: Precondition::Any,
        attributes: FileAttributes::default(),
        keep: Some(upload),
    };
    let mut store = files.store_wanted(&owner, &wanted).unwrap();
    let mut rest = &content[..];
    let mut send = |store: &mut Store<'_>| {
        let room = store.room()?;
        let (now, later) = rest.split_at(room.len());
        room.copy_from_slice(now);
        rest = later;
        store.push()
    };
    let has_come = |world: &mut World| !world.uploads(DEMO).is_empty();
    while !has_come(&mut world) {
        send(&mut store).unwrap();
    }
    files.drop_upload(&owner, upload).unwrap();
    let refused = loop {
        if let Err(error) = send(&mut store) {
            break error;
        }
    };
    assert_eq!(refused.code(), Code::Changed, "{refused}");
    drop(store);
    assert!(!has_come(&mut world) && !rest.is_empty());
}

// ---- canaries ----

#[test]
fn the_canary_extents_that_go_with_the_file_that_they_came_from_are_caught() {
    let honest = Faults { uploads: true, ..Faults::default() };
    assert_eq!(failures(15, honest), 0, "without it all is well");
    let broken = Faults { unsharing: true, ..honest };
    let caught = (0..100).find(|seed| panic::catch_unwind(|| run(*seed, broken)).is_err());
    println!("seed {caught:?} notices that something shared has gone");
    assert!(caught.is_some(), "nobody notices that something shared has gone");
}

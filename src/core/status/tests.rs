//! Tests of the judgement of a cluster.

use super::*;

const GIB: u64 = 1 << 30;

/// Four nodes of which those in `up` are, and files that lie on these sets of nodes.
fn facts(up: u8, placed: &[u8]) -> Facts {
    let up = NodeSet::from_bits(up);
    let node = |id: NodeId| {
        let is_up = up.contains(id);
        NodeFacts {
            address: format!("127.0.0.1:{id}"),
            state: if is_up { NodeState::Up } else { NodeState::Down },
            why: if is_up { String::new() } else { "connection refused".into() },
            silent: Some(Duration::from_secs(if is_up { 0 } else { 192 })),
            room: Some(Room {
                free_bytes: 50 * GIB,
                total_bytes: 100 * GIB,
                spare_bytes: 49 * GIB,
            }),
            disk: None,
            owed: Debt::default(),
            owed_why: None,
            errors: 0,
            since: Duration::from_secs(192),
            trust: Trust::Full,
            snapshot_refused: None,
        }
    };
    let placement =
        |bits: &u8| Placement { placed: NodeSet::from_bits(*bits), files: 2, bytes: 300 };
    Facts {
        nodes: NodeId::ALL.map(node),
        placements: placed.iter().map(placement).collect(),
        is_leading: true,
        change_in_doubt: false,
        catalog_in_doubt: false,
        catalog_full: false,
    }
}

fn kinds(status: &Status) -> Vec<String> {
    let kind = |trouble: &Trouble| {
        let text = format!("{trouble:?}");
        text.split(' ').next().unwrap().to_owned()
    };
    status.troubles.iter().map(kind).collect()
}

#[test]
fn what_can_be_done_follows_from_where_files_lie() {
    use State::{Degraded, Healthy, Unavailable};
    for (up, placed, state, can_store, nodes_to_spare, unreadable) in [
        (0b1111, &[][..], Healthy, true, 2, 0),
        (0b1111, &[0b1111], Healthy, true, 2, 0),
        (0b1111, &[0b1111, 0b0111], Healthy, true, 1, 0),
        (0b1110, &[0b1111], Degraded, true, 1, 0),
        (0b1100, &[0b1111], Degraded, false, 0, 0),
        (0b1100, &[0b1111, 0b0111], Unavailable, false, 0, 2),
        (0b1000, &[0b1111, 0b0111], Unavailable, false, 0, 4),
        (0b1011, &[0b1110, 0b0111, 0b1101], Degraded, true, 0, 0),
        (0b0011, &[0b1110, 0b0111], Unavailable, false, 0, 2),
        (0b0000, &[], Degraded, false, 0, 0),
        (0b0001, &[], Degraded, false, 0, 0),
        (0b0111, &[], Degraded, true, 1, 0),
    ] {
        let status = Status::judge(&facts(up, placed));
        let case = format!("{up:04b} {placed:?}: {status:?}");
        assert_eq!(status.state, state, "{case}");
        assert_eq!(status.can_store, can_store, "{case}");
        assert_eq!(status.nodes_to_spare, nodes_to_spare, "{case}");
        assert_eq!(status.files.unreadable, unreadable, "{case}");
        assert_eq!(status.files.count, 2 * placed.len() as u64, "{case}");
    }
}

#[test]
fn files_that_no_node_brings_back_are_told_apart() {
    // One that waits for node 4, and two of which one piece is left.
    let status = Status::judge(&facts(0b0111, &[0b1100, 0b0001]));
    assert_eq!(kinds(&status)[..2], ["Unreadable", "Damaged"]);
    assert_eq!(status.troubles[1], Trouble::Damaged { files: 2 });
    assert_eq!((status.state, status.files.unreadable), (State::Unavailable, 4));
    let status = Status::judge(&facts(0b1111, &[0b1111, 0b0001]));
    assert_eq!(kinds(&status), ["Damaged"]);
}

#[test]
fn with_a_full_server_files_are_read_and_none_is_stored() {
    let facts = Facts { catalog_full: true, ..facts(0b1111, &[0b1111]) };
    let status = Status::judge(&facts);
    assert_eq!(kinds(&status), ["ServerFull"]);
    assert_eq!((status.state, status.can_store), (State::Degraded, false));
    assert_eq!((status.files.unreadable, status.nodes_to_spare), (0, 2));
}

#[test]
fn a_set_without_files_counts_for_nothing() {
    let mut facts = facts(0b1111, &[0b1111, 0]);
    facts.placements[1].files = 0;
    let status = Status::judge(&facts);
    assert_eq!((status.state, status.nodes_to_spare), (State::Healthy, 2));
}

#[test]
fn pieces_that_are_missing_are_trouble() {
    let debt = |pieces| Debt { pieces, piece_bytes: 10 * pieces };
    let mut lacking = facts(0b1111, &[0b1111]);
    lacking.nodes[0].owed = debt(1);
    lacking.nodes[3].owed = debt(2);
    // That of a node that lacks nothing any more is out of date.
    lacking.nodes[2].owed_why = Some("its disk was full".into());
    let status = Status::judge(&lacking);
    let nodes = vec![NodeId::ALL[0], NodeId::ALL[3]];
    let owed = |why| Trouble::PiecesOwed { nodes: nodes.clone(), pieces: 3, bytes: 30, why };
    assert_eq!(status.troubles, [owed(None)]);
    let why = Some("node 4: its disk failed: file too large".to_owned());
    lacking.nodes[3].owed_why.clone_from(&why);
    assert_eq!(Status::judge(&lacking).troubles, [owed(why)]);
    assert_eq!(status.state, State::Degraded);
    assert_eq!(status.owed, debt(3));
}

#[test]
fn a_disk_that_takes_nothing_is_named_once_with_its_cause() {
    let mut sick = facts(0b1111, &[0b1111]);
    let room = sick.nodes[2].room.unwrap();
    for (cause, spare_bytes, can_store) in [
        (DiskTrouble::NoInodes, 0, false),
        (DiskTrouble::NotWritable("/files_3 (permission denied)".into()), room.spare_bytes, false),
        (DiskTrouble::Failing("input/output error".into()), room.spare_bytes, true),
        (DiskTrouble::Full(": the disk quota is used up".into()), room.spare_bytes, false),
        (DiskTrouble::Full(String::new()), 0, false),
    ] {
        sick.nodes[2].disk = Some(cause.clone());
        sick.nodes[2].room = Some(Room { spare_bytes, ..room });
        let status = Status::judge(&sick);
        let expected = Trouble::NodeDisk { node: NodeId::ALL[2], cause };
        assert_eq!((status.state, &status.troubles[..]), (State::Degraded, &[expected][..]));
        assert!(status.can_store, "the other three take it");
        let mut two = sick.clone();
        two.nodes[0].disk = Some(DiskTrouble::NoInodes);
        let status = Status::judge(&two);
        assert_eq!((status.can_store, status.nodes_to_spare), (can_store, 2));
        // One that is away says nothing about its disk.
        two.nodes[0].state = NodeState::Down;
        assert_eq!(kinds(&Status::judge(&two)), ["NodeAway", "NodeDisk"]);
    }
}

#[test]
fn a_node_that_cannot_be_relied_on_counts_for_nothing_and_takes_part_in_storing() {
    let mut facts = facts(0b1111, &[0b1111, 0b0111]);
    facts.nodes[1].trust = Trust::Gap;
    let status = Status::judge(&facts);
    assert_eq!(kinds(&status), ["NodeCatchingUp"]);
    assert_eq!((status.state, status.can_store, status.nodes_to_spare), (State::Degraded, true, 0));
    assert_eq!(status.nodes.iter().filter(|node| node.trusted).count(), 3);
    facts.nodes[0].trust = Trust::Behind("its disk is full".into());
    let status = Status::judge(&facts);
    assert_eq!(kinds(&status), ["Unreadable", "JournalBehind", "NodeCatchingUp"]);
    assert_eq!(status.files.unreadable, 2, "those that lie on nodes 1 to 3");
}

#[test]
fn a_server_that_does_not_lead_stores_nothing() {
    let mut facts = facts(0b1111, &[0b1111]);
    facts.is_leading = false;
    let status = Status::judge(&facts);
    assert_eq!(
        (kinds(&status).as_slice(), status.can_store),
        (&["NotLeading".to_owned()][..], false)
    );
    facts.nodes[0].state = NodeState::Down;
    facts.nodes[1].state = NodeState::Down;
    let status = Status::judge(&facts);
    assert_eq!(kinds(&status), ["NodeAway", "NodeAway"], "that is why");
}

#[test]
fn a_full_node_is_told_and_takes_no_part_in_storing() {
    let mut facts = facts(0b1111, &[0b1111]);
    let fill = |facts: &mut Facts, node: usize, spare_bytes| {
        let room = facts.nodes[node].room.as_mut().unwrap();
        room.spare_bytes = spare_bytes;
    };
    fill(&mut facts, 0, GIB);
    assert_eq!(Status::judge(&facts).state, State::Healthy);
    fill(&mut facts, 0, GIB - 1);
    let status = Status::judge(&facts);
    assert_eq!((kinds(&status).as_slice(), status.can_store), (&["NodeFull".to_owned()][..], true));
    fill(&mut facts, 0, 0);
    assert!(Status::judge(&facts).can_store, "three are left");
    fill(&mut facts, 1, 0);
    let status = Status::judge(&facts);
    assert_eq!((status.state, status.can_store), (State::Degraded, false));
    facts.nodes[0].room = None;
    assert!(Status::judge(&facts).can_store, "it may have room");
}

#[test]
fn a_small_disk_is_nearly_full_by_its_own_measure() {
    let mut facts = facts(0b1111, &[]);
    let room = |spare_bytes| Some(Room { free_bytes: 50, total_bytes: 1000, spare_bytes });
    facts.nodes[2].room = room(50);
    assert_eq!(Status::judge(&facts).state, State::Healthy);
    facts.nodes[2].room = room(49);
    assert_eq!(kinds(&Status::judge(&facts)), ["NodeFull"]);
}

#[test]
fn a_node_on_probation_is_there_and_is_trouble() {
    let mut facts = facts(0b0111, &[0b1111]);
    facts.nodes[2].state = NodeState::Probation;
    let status = Status::judge(&facts);
    assert_eq!(kinds(&status), ["NodeAway", "NodeUnsteady"]);
    assert_eq!((status.can_store, status.nodes_to_spare), (true, 1));
}

#[test]
fn a_snapshot_that_is_refused_is_trouble_once_the_node_has_been_up_for_a_while() {
    let mut facts = facts(0b0111, &[0b1111]);
    facts.nodes[1].snapshot_refused = Some("its disk is full".into());
    facts.nodes[3].snapshot_refused = Some("it was full".into());
    assert_eq!(kinds(&Status::judge(&facts)), ["NodeAway", "JournalBehind"]);
    facts.nodes[1].since = SNAPSHOT_GRACE - Duration::from_millis(1);
    assert_eq!(kinds(&Status::judge(&facts)), ["NodeAway"]);
}

#[test]
fn while_a_change_is_in_doubt_nothing_is_stored() {
    let mut facts = facts(0b1111, &[0b1111]);
    facts.change_in_doubt = true;
    let status = Status::judge(&facts);
    assert_eq!((status.state, status.can_store), (State::Degraded, false));
    assert_eq!(status.troubles, [Trouble::ChangeInDoubt]);
    (facts.change_in_doubt, facts.catalog_in_doubt) = (false, true);
    let status = Status::judge(&facts);
    assert_eq!(
        (kinds(&status).as_slice(), status.can_store),
        (&["CatalogInDoubt".to_owned()][..], false)
    );
}

#[test]
fn the_worst_is_told_first() {
    let mut facts = facts(0b1000, &[0b1111]);
    facts.change_in_doubt = true;
    facts.nodes[0].silent = None;
    facts.nodes[0].owed.pieces = 1;
    let status = Status::judge(&facts);
    let expected =
        ["Unreadable", "ChangeInDoubt", "NodeAway", "NodeAway", "NodeAway", "PiecesOwed"];
    assert_eq!(kinds(&status), expected);
    let why = "connection refused".to_owned();
    assert_eq!(
        status.troubles[2],
        Trouble::NodeAway { node: NodeId::ALL[0], silent_ms: None, why }
    );
    assert_eq!(status.nodes[1].silent_ms, Some(192_000));
    assert_eq!(status.state.exit_status(), 21);
}

//! Never two servers that change things: who may register with a node, and whether a server may
//! start.
//!
//! ```text
//!   ask all nodes: whom do you serve?
//!        │
//!        ├─ another cluster, and this catalog is empty ─────────────> refuse: recover
//!        ├─ another server was heard of within 5 s ─────────────────> refuse, unless --take-over
//!        ├─ our own last run was heard of within 5 s ──> look again ─> refuse if heard meanwhile
//!        └─ nobody was ─────────────────────────────────────────────> start with a higher epoch
//! ```
//!
//! Being careful at the start is a courtesy to a server that runs. What keeps two from changing
//! things is the epoch: a node obeys the highest that it has seen, and a server changes nothing
//! before three nodes have registered it, nor answers a change before it is in the journals of three.
//! Any two sets of three of four nodes share two.

use std::time::Duration;

use crate::core::types::{Claim, ClusterId, EPOCH_MAX, NodeId, ServerId};
use crate::core::wire::node::Serves;

/// A server that was heard of within this time is taken for one that runs.
pub const SILENT_AFTER: Duration = Duration::from_secs(5);

/// How long to wait before looking again whether our own last run is still heard of. A running
/// server probes every node twice a second.
pub const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(1200);

const _: () = assert!(LOOK_AGAIN_AFTER.as_millis() < SILENT_AFTER.as_millis());

/// What a node makes of a server that registers or asks for something.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Admission {
    /// It is the server that the node serves.
    Current,
    /// It comes after that one: to be noted durably before it is welcomed.
    Newer,
    /// The node serves another one, with this epoch.
    Fenced(u64),
    /// No server takes such an epoch.
    Absurd,
}

/// Is a server with this claim served by a node that has seen `current`?
pub fn admit(current: Option<Claim>, claim: Claim) -> Admission {
    match current {
        _ if claim.epoch == 0 || claim.epoch > EPOCH_MAX => Admission::Absurd,
        Some(current) if current == claim => Admission::Current,
        Some(current) if current.epoch >= claim.epoch => Admission::Fenced(current.epoch),
        _ => Admission::Newer,
    }
}

/// What the server's own catalog knows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Own {
    /// Its cluster.
    pub cluster: ClusterId,
    /// Has it neither an account nor a file?
    pub is_empty: bool,
    /// What the last run with this catalog registered with.
    pub last: Option<Claim>,
}

/// How often the nodes have been asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Look {
    /// For the first time.
    First,
    /// Again, at least [`LOOK_AGAIN_AFTER`] later.
    Again,
}

/// Whether a server may start.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Decision {
    /// With this epoch.
    Start {
        /// Higher than all that have been heard of.
        epoch: u64,
        /// Has another server served these nodes since this catalog was last in use?
        is_behind: bool,
    },
    /// Our own last run was heard of a moment ago: it was killed, or a copy of it runs elsewhere.
    LookAgain,
    /// Not at all.
    Refuse(Refusal),
}

/// Why a server must not start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refusal {
    /// This node holds another cluster, and the catalog is an empty one.
    Recover(NodeId),
    /// Another server is at work.
    Running {
        /// Where it was heard of.
        node: NodeId,
        /// How long ago.
        ago: Duration,
        /// Does it call itself what our own last run did: is it a copy of this folder?
        is_copy: bool,
    },
}

/// May a server start? Nodes that do not answer are left out of `answers`: fewer than three are no
/// hindrance, since a server changes nothing before it has registered with three.
pub fn decide(own: Own, answers: &[Serves], look: Look, take_over: bool) -> Decision {
    let strange = answers.iter().find(|serves| serves.cluster.is_some_and(|c| c != own.cluster));
    if let Some(strange) = strange.filter(|_| own.is_empty) {
        return Decision::Refuse(Refusal::Recover(strange.node));
    }
    // A node of another cluster refuses us anyway; what epoch it has seen is not ours.
    let ours = || answers.iter().filter(|serves| serves.cluster.is_none_or(|c| c == own.cluster));
    let last = own.last.map_or(0, |last| last.epoch);
    let is_last = |serves: &Serves| {
        own.last
            .is_some_and(|last| (last.epoch, Some(last.server)) == (serves.epoch, serves.server))
    };
    // Once our own last run has registered anywhere, a server with a lower epoch counts for nothing:
    // it was taken over then, or is the run before.
    let has_registered = ours().any(is_last);
    let counts = |serves: &Serves| !has_registered || serves.epoch >= last;
    if !take_over {
        let heard = |longest: Duration, of_last: bool| {
            ours()
                .filter(|serves| counts(serves) && is_last(serves) == of_last)
                .filter_map(|serves| Some((serves.heard_ago()?, serves.node)))
                .filter(|(ago, _)| *ago < longest)
                .min()
        };
        let refuse =
            |(ago, node), is_copy| Decision::Refuse(Refusal::Running { node, ago, is_copy });
        if let Some(other) = heard(SILENT_AFTER, false) {
            return refuse(other, false);
        }
        match look {
            Look::First if heard(SILENT_AFTER, true).is_some() => return Decision::LookAgain,
            Look::First => {}
            // Not heard of since the first look, its age is that time at least.
            Look::Again => {
                if let Some(copy) = heard(LOOK_AGAIN_AFTER, true) {
                    return refuse(copy, true);
                }
            }
        }
    }
    let seen = ours().map(|serves| serves.epoch).max().unwrap_or(0);
    let is_behind = own.last.is_some()
        && ours().any(|serves| serves.epoch >= last && serves.server.is_some() && !is_last(serves));
    Decision::Start { epoch: seen.max(last).saturating_add(1), is_behind }
}

/// What a server does that a node has refused before it led.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Refused {
    /// It takes this epoch: the nodes know a later run in its own folder, which has ended. It could not
    /// ask them at its start, and its folder was put back to an older copy since.
    GoHigher(u64),
    /// There is a later run in its own folder: whether that is heard of turns out after
    /// [`LOOK_AGAIN_AFTER`].
    LookAgain,
    /// It ends: another server, or a copy of it that runs, has this epoch.
    TakenOver(u64),
    /// It goes on: no node that is there refuses it.
    GoOn,
}

/// What to do about nodes that serve another run than `own`, which has not led yet. One that has led is
/// taken over by whoever has a higher epoch.
pub fn refused(own: Claim, cluster: ClusterId, answers: &[Serves], look: Look) -> Refused {
    let ours = answers.iter().filter(|serves| serves.cluster == Some(cluster));
    let others = ours.filter_map(|serves| {
        let server = serves.server.filter(|server| *server != own.server)?;
        (serves.epoch >= own.epoch).then_some((serves, server))
    });
    let others: Vec<(&Serves, ServerId)> = others.collect();
    let Some(epoch) = others.iter().map(|(serves, _)| serves.epoch).max() else {
        return Refused::GoOn;
    };
    if others.iter().any(|(_, server)| !server.shares_folder(own.server)) {
        return Refused::TakenOver(epoch);
    }
    let is_heard = others
        .iter()
        .any(|(serves, _)| serves.heard_ago().is_some_and(|ago| ago < LOOK_AGAIN_AFTER));
    match look {
        // A node that has just started has heard of nobody yet.
        Look::First => Refused::LookAgain,
        Look::Again if is_heard => Refused::TakenOver(epoch),
        Look::Again => Refused::GoHigher(epoch.saturating_add(1)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLUSTER: ClusterId = ClusterId([1; 16]);
    const OURS: ServerId = ServerId([2; 16]);
    const OTHER: ServerId = ServerId([3; 16]);

    fn own(last: Option<(u64, ServerId)>) -> Own {
        let last = last.map(|(epoch, server)| Claim { epoch, server });
        Own { cluster: CLUSTER, is_empty: false, last }
    }

    fn serves(node: usize, epoch: u64, server: ServerId, heard_ms: Option<u64>) -> Serves {
        Serves {
            node: NodeId::ALL[node - 1],
            cluster: Some(CLUSTER),
            epoch,
            server: Some(server),
            heard_ms_ago: heard_ms,
            folder: String::new(),
        }
    }

    fn fresh(node: usize) -> Serves {
        Serves { cluster: None, server: None, ..serves(node, 0, OTHER, None) }
    }

    fn start(epoch: u64) -> Decision {
        Decision::Start { epoch, is_behind: false }
    }

    fn running(node: usize, ms: u64, is_copy: bool) -> Decision {
        let (node, ago) = (NodeId::ALL[node - 1], Duration::from_millis(ms));
        Decision::Refuse(Refusal::Running { node, ago, is_copy })
    }

    #[test]
    fn a_node_serves_the_highest_epoch_and_never_two_servers_with_one() {
        let claim = |epoch, server| Claim { epoch, server };
        let current = Some(claim(5, OURS));
        for (claim, admission) in [
            (claim(5, OURS), Admission::Current),
            (claim(5, OTHER), Admission::Fenced(5)),
            (claim(4, OURS), Admission::Fenced(5)),
            (claim(6, OURS), Admission::Newer),
            (claim(6, OTHER), Admission::Newer),
            (claim(0, OURS), Admission::Absurd),
            (claim(u64::MAX, OURS), Admission::Absurd),
        ] {
            assert_eq!(admit(current, claim), admission, "{claim:?}");
        }
        assert_eq!(admit(None, claim(1, OURS)), Admission::Newer);
    }

    #[test]
    fn nobody_heard_of_is_no_hindrance() {
        let first = |own, answers: &[Serves]| decide(own, answers, Look::First, false);
        assert_eq!(first(own(None), &[]), start(1));
        assert_eq!(first(own(None), &[fresh(1), fresh(2), fresh(3), fresh(4)]), start(1));
        let ended = [serves(1, 7, OURS, None), serves(2, 7, OURS, Some(5000)), fresh(3)];
        assert_eq!(first(own(Some((7, OURS))), &ended), start(8));
        // Some nodes may not have seen the last run, or may be away.
        assert_eq!(first(own(Some((9, OURS))), &ended), start(10));
        assert_eq!(first(own(Some((9, OURS))), &[]), start(10));
    }

    #[test]
    fn another_server_is_respected_while_it_is_heard_of() {
        let answers = [
            serves(1, 7, OTHER, Some(9000)),
            serves(2, 8, OTHER, Some(4999)),
            serves(3, 8, OTHER, Some(300)),
        ];
        for look in [Look::First, Look::Again] {
            let own = own(Some((7, OURS)));
            assert_eq!(decide(own, &answers, look, false), running(3, 300, false));
            let taken = decide(own, &answers, look, true);
            assert_eq!(taken, Decision::Start { epoch: 9, is_behind: true });
        }
        let silent = [serves(3, 8, OTHER, Some(5000))];
        // A catalog that has never been in use (a recovered one) is behind nobody.
        assert_eq!(decide(own(None), &silent, Look::First, false), start(9));
        // The same epoch under another name is another server.
        let same = [serves(1, 7, OTHER, Some(10))];
        let refused = decide(own(Some((7, OURS))), &same, Look::First, false);
        assert_eq!(refused, running(1, 10, false));
    }

    #[test]
    fn one_that_our_last_run_had_taken_over_does_not_count() {
        let answers = [serves(1, 6, OTHER, Some(10)), serves(2, 7, OURS, None)];
        assert_eq!(decide(own(Some((7, OURS))), &answers, Look::First, false), start(8));
        // But it does if our last run has never registered anywhere.
        let refused = decide(own(Some((7, OURS))), &answers[..1], Look::First, false);
        assert_eq!(refused, running(1, 10, false));
    }

    #[test]
    fn our_own_last_run_is_looked_at_twice() {
        let own = own(Some((7, OURS)));
        let at = |ms| [serves(1, 7, OURS, None), serves(4, 7, OURS, Some(ms))];
        assert_eq!(decide(own, &at(100), Look::First, false), Decision::LookAgain);
        assert_eq!(decide(own, &at(4999), Look::First, false), Decision::LookAgain);
        assert_eq!(decide(own, &at(5000), Look::First, false), start(8));
        assert_eq!(decide(own, &at(1300), Look::Again, false), start(8), "it was killed");
        assert_eq!(decide(own, &at(400), Look::Again, false), running(4, 400, true));
        assert_eq!(decide(own, &at(400), Look::First, true), start(8));
    }

    #[test]
    fn an_empty_catalog_never_takes_over_a_cluster() {
        let empty = Own { is_empty: true, ..own(None) };
        let strange = Serves { cluster: Some(ClusterId([9; 16])), ..serves(3, 4, OTHER, None) };
        let answers = [fresh(1), strange.clone()];
        for take_over in [false, true] {
            let refused = decide(empty, &answers, Look::First, take_over);
            assert_eq!(refused, Decision::Refuse(Refusal::Recover(NodeId::ALL[2])));
        }
        // With something in the catalog it is the node that is wrong, and it counts for nothing.
        let heard = [Serves { heard_ms_ago: Some(0), ..strange }];
        assert_eq!(decide(own(None), &heard, Look::First, false), start(1));
    }

    #[test]
    fn one_that_was_refused_before_it_led_goes_higher_than_its_own_former_runs_and_no_others() {
        let later = OURS.next(ServerId([8; 16]));
        let own = Claim { epoch: 8, server: OURS.next(ServerId([9; 16])) };
        let after = |answers: &[Serves], look| refused(own, CLUSTER, answers, look);
        let both = |answers: &[Serves]| [Look::First, Look::Again].map(|look| after(answers, look));
        let former = |ms| [serves(1, 8, own.server, Some(0)), serves(2, 9, later, ms)];
        for silent in [None, Some(5000), Some(1200)] {
            assert_eq!(both(&former(silent)), [Refused::LookAgain, Refused::GoHigher(10)]);
        }
        // A copy of the folder is at work there.
        assert_eq!(both(&former(Some(700))), [Refused::LookAgain, Refused::TakenOver(9)]);
        // The same epoch, taken by two runs of one folder.
        let same = [serves(2, 8, later, None)];
        assert_eq!(both(&same), [Refused::LookAgain, Refused::GoHigher(9)]);
        // Another server has taken over since, or before.
        for epoch in [8, 10] {
            let answers = [serves(2, 9, later, None), serves(3, epoch, OTHER, None)];
            assert_eq!(both(&answers), [Refused::TakenOver(epoch.max(9)); 2]);
        }
        // It went away, or obeys by now; a node of another cluster counts for nothing.
        let strange = Serves { cluster: Some(ClusterId([9; 16])), ..serves(3, 40, OTHER, None) };
        let answers =
            [serves(1, 7, OTHER, None), serves(2, 8, own.server, None), fresh(4), strange];
        assert_eq!(both(&answers), [Refused::GoOn; 2]);
    }
}

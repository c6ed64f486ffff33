//! When is a store won, when is it lost? A table of four votes and an answer of three values.
//!
//! Pure. Lost is known as soon as it is certain, before everyone has answered, so that a client does
//! not send bytes that nobody will keep.

use crate::core::types::{NODE_COUNT, NodeId, NodeSet, WRITE_QUORUM};

/// What a node has said.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Vote {
    /// Nothing yet.
    #[default]
    Open,
    /// Its piece is on disk, synced.
    Yes,
    /// It is down, silent past its deadline, or could not do it.
    No,
}

/// The four votes, node 1 first.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Ballot([Vote; NODE_COUNT]);

/// What follows from the votes so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// Some are still open, and matter.
    Pending,
    /// Everyone has voted and enough said yes.
    Won,
    /// Enough said no.
    Lost,
}

impl Ballot {
    /// Notes a vote; a node's `No` is final.
    pub fn cast(&mut self, node: NodeId, vote: Vote) {
        let own = &mut self.0[node.index()];
        if *own != Vote::No {
            *own = vote;
        }
    }

    /// The nodes that voted so.
    pub fn who(&self, vote: Vote) -> NodeSet {
        NodeId::ALL.into_iter().filter(|node| self.0[node.index()] == vote).collect()
    }

    /// A store is won when every node has answered or been given up and at least
    /// [`WRITE_QUORUM`] hold it; it is lost when no more than that can be reached any more.
    pub fn verdict(&self) -> Verdict {
        if NODE_COUNT - self.who(Vote::No).len() < WRITE_QUORUM {
            Verdict::Lost
        } else if self.who(Vote::Open).is_empty() {
            Verdict::Won
        } else {
            Verdict::Pending
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads `[ok ok no ??] pending`.
    fn check(picture: &str) {
        let (votes, expected) = picture.split_once("] ").unwrap();
        let mut ballot = Ballot::default();
        for (node, word) in NodeId::ALL.into_iter().zip(votes[1..].split(' ')) {
            match word {
                "ok" => ballot.cast(node, Vote::Yes),
                "no" => ballot.cast(node, Vote::No),
                _ => {}
            }
        }
        let verdict = format!("{:?}", ballot.verdict()).to_lowercase();
        assert_eq!(verdict, expected, "{picture}");
    }

    #[test]
    fn the_cases_as_pictures() {
        for picture in [
            "[?? ?? ?? ??] pending",
            "[ok ok ok ??] pending",
            "[ok ok ok ok] won",
            "[ok ok no ok] won",
            "[ok ok no ??] pending",
            "[no ?? ?? ??] pending",
            "[no no ?? ??] lost",
            "[ok ok no no] lost",
            "[no no no no] lost",
        ] {
            check(picture);
        }
    }

    #[test]
    fn a_no_is_final() {
        let mut ballot = Ballot::default();
        ballot.cast(NodeId::ALL[0], Vote::No);
        ballot.cast(NodeId::ALL[0], Vote::Yes);
        assert_eq!(ballot.who(Vote::No), NodeSet::from_bits(1));
    }
}

//! What the nodes' disks testify: which versions of which files lie where, put together from the
//! blocks of all nodes that could be asked. Values only.

use std::collections::{BTreeMap, BTreeSet};

use crate::core::path::{FilePath, FolderPath, UserName};
use crate::core::types::{Digest, NodeId, NodeSet, Seq, VersionId};
use crate::core::wire::backup::Finding;
use crate::core::wire::node::Place;

/// The most complaints that are kept; a disk that is that bad says nothing new after them.
const UNREAD_MAX: usize = 1000;

/// All that was found.
#[derive(Default, Debug)]
pub struct Evidence {
    /// By user and path; in it by number, lowest first. Blocks that disagree about their version's
    /// size or digest are of different versions, so that no two of them are ever mixed.
    pub(super) files: BTreeMap<(UserName, FilePath), BTreeMap<State, Found>>,
    /// Where there is anything of a version: where it was moved on some nodes and not on others, at
    /// several places.
    places: BTreeMap<VersionId, BTreeSet<(UserName, FilePath)>>,
    /// Every user's folders, the top folders as well.
    pub(super) folders: BTreeSet<(UserName, FolderPath)>,
    /// What could not be read, and on which node.
    pub(super) unread: Vec<(NodeId, String)>,
    /// The highest number of any version.
    pub(super) highest: Seq,
}

/// Which stored state of a file.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) struct State {
    pub(super) seq: Seq,
    pub(super) version: VersionId,
    pub(super) bytes: u64,
    pub(super) blake3: Digest,
}

/// What was found of a version: a bit for each of the eight blocks.
#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub(super) struct Found {
    pub(super) stored_ms: i64,
    staged: u8,
    committed: u8,
    /// Under another final name than the one that is asked for.
    elsewhere: u8,
}

impl Found {
    /// The nodes that hold both blocks, staged or under whatever name.
    pub(super) fn held(self) -> NodeSet {
        nodes(|node| bits(node) & !(self.staged | self.committed | self.elsewhere) == 0)
    }

    /// The nodes that hold any block.
    pub(super) fn touched(self) -> NodeSet {
        nodes(|node| bits(node) & (self.staged | self.committed | self.elsewhere) != 0)
    }

    /// The nodes that hold both blocks under their final names.
    pub(super) fn committed(self) -> NodeSet {
        nodes(|node| bits(node) & !self.committed == 0)
    }

    /// The nodes that hold any block under its final name: only an answered version does.
    pub(super) fn named(self) -> NodeSet {
        nodes(|node| bits(node) & (self.committed | self.elsewhere) != 0)
    }
}

/// A node's blocks in the bits of [`Found`].
fn bits(node: NodeId) -> u8 {
    node.blocks().iter().fold(0, |bits, block| bits | 1 << block.index())
}

fn nodes(which: impl Fn(NodeId) -> bool) -> NodeSet {
    NodeId::ALL.into_iter().filter(|node| which(*node)).collect()
}

impl Evidence {
    /// Takes in what a node has found.
    pub fn add(&mut self, node: NodeId, finding: Finding) {
        match finding {
            Finding::Folder { user, folder } => {
                self.folders.insert((user, folder));
            }
            Finding::Unread { what } if self.unread.len() < UNREAD_MAX => {
                self.unread.push((node, what));
            }
            Finding::Unread { .. } => {}
            Finding::Block { block, place, is_staged, version, seq, bytes, blake3, stored_ms } => {
                // A node speaks for its own blocks only.
                if block.node() != node {
                    return;
                }
                self.highest = self.highest.max(seq);
                let state = State { seq, version, bytes, blake3 };
                let key = (place.user, place.path);
                self.places.entry(version).or_default().insert(key.clone());
                let versions = self.files.entry(key).or_default();
                let found = versions.entry(state).or_default();
                found.stored_ms = stored_ms;
                let kind = if is_staged { &mut found.staged } else { &mut found.committed };
                *kind |= 1 << block.index();
            }
        }
    }

    /// Was there anything that a node could not read? If so it is forgotten, for the node to be asked
    /// again: a disk may fail once and read the next time.
    pub fn forget_unread(&mut self, node: NodeId) -> bool {
        let before = self.unread.len();
        self.unread.retain(|(own, _)| *own != node);
        self.unread.len() < before
    }

    /// The nodes that could not read something: what they seem to lack they may hold.
    pub(super) fn unsure(&self) -> NodeSet {
        self.unread.iter().map(|(node, _)| *node).collect()
    }

    /// What was found of a version under one name, in staging and under other names.
    pub(super) fn of(&self, user: &UserName, path: &FilePath, state: &State) -> Found {
        let mut all = Found::default();
        for (own, found) in self.found(*state) {
            all.staged |= found.staged;
            if own.0 == *user && own.1 == *path {
                all.committed |= found.committed;
            } else {
                all.elsewhere |= found.committed;
            }
            all.stored_ms = found.stored_ms;
        }
        all
    }

    /// The places of a version, and what was found at each.
    fn found(&self, state: State) -> impl Iterator<Item = (&(UserName, FilePath), Found)> {
        let places = self.places.get(&state.version).into_iter().flatten();
        places.flat_map(move |place| {
            let versions = self.files.get(place).into_iter().flatten();
            let same = versions.filter(move |(own, _)| own.is_same(&state));
            same.map(move |(_, found)| (place, *found))
        })
    }

    /// The names but this one under which a node has a block of a version.
    pub(super) fn elsewhere(&self, node: NodeId, place: &Place, state: &State) -> Vec<FilePath> {
        self.found(*state)
            .filter(|((user, path), found)| {
                *user == place.user && *path != place.path && found.committed & bits(node) != 0
            })
            .map(|((_, path), _)| path.clone())
            .collect()
    }

    /// What a version is called that nothing else tells of. Where a move has reached some nodes only
    /// that is the newer name: not the one that staged blocks, which are called as they were stored,
    /// have as well; else the one that more blocks have.
    pub(super) fn home(&self, state: &State) -> Option<&(UserName, FilePath)> {
        let votes = self.found(*state).map(|(place, found)| {
            let count = found.committed.count_ones();
            ((count > 0, found.staged == 0, count), place)
        });
        votes.max().map(|(_, place)| place)
    }
}

impl State {
    /// Is it the same version, by its size and digest as well?
    fn is_same(&self, other: &State) -> bool {
        (self.version, self.bytes, self.blake3) == (other.version, other.bytes, other.blake3)
    }
}

/// The version of a file that is newer than what is known and has to become the current one, if one
/// has: the highest number above `floor` of which two pieces are there, or that is under its final
/// name anywhere. A store that was running when the server was lost has left staged pieces, too; it
/// was certainly not answered if two nodes have an older version and nothing of it.
/// One that was moved away is no candidate: `is_here` says which are called so.
pub(super) fn newest(
    versions: &BTreeMap<State, Found>,
    floor: Seq,
    is_here: &dyn Fn(&State) -> bool,
) -> Option<(State, Found)> {
    let news = versions.iter().rev().take_while(|(state, _)| state.seq > floor);
    let mut candidates = news.filter(|(state, found)| {
        if !is_here(state) {
            return false;
        }
        let older = versions.range(..*state).map(|(_, found)| found.named());
        let older: NodeSet = older.flat_map(|nodes| nodes.iter().collect::<Vec<_>>()).collect();
        let disproved = older.and(found.touched().complement()).len() >= 2;
        !found.named().is_empty() || (found.held().len() >= 2 && !disproved)
    });
    candidates.next().map(|(state, found)| (*state, *found))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::types::Block;

    /// Version `n`, its first `blocks` blocks on this node.
    fn add(evidence: &mut Evidence, n: u8, node: u8, is_staged: bool, blocks: usize) {
        let node = NodeId::new(node).unwrap();
        for block in node.blocks().into_iter().take(blocks) {
            evidence.add(node, finding(n, block, is_staged));
        }
    }

    fn finding(n: u8, block: Block, is_staged: bool) -> Finding {
        Finding::Block {
            block,
            place: Place {
                user: UserName::parse("demo").unwrap(),
                path: FilePath::parse_rooted("a").unwrap(),
            },
            is_staged,
            version: VersionId([n; 16]),
            seq: Seq(n.into()),
            bytes: 5,
            blake3: Digest([n; 32]),
            stored_ms: 0,
        }
    }

    fn chosen(floor: u64, pieces: &[(u8, u8, bool)]) -> Option<u64> {
        let mut evidence = Evidence::default();
        pieces.iter().for_each(|(n, node, staged)| add(&mut evidence, *n, *node, *staged, 2));
        let versions = evidence.files.values().next().unwrap();
        newest(versions, Seq(floor), &|_| true).map(|(state, _)| state.seq.0)
    }

    #[test]
    fn the_highest_version_of_which_two_pieces_are_there_is_chosen() {
        let (staged, committed) = (true, false);
        assert_eq!(chosen(0, &[(1, 1, staged), (1, 2, staged)]), Some(1));
        assert_eq!(chosen(1, &[(1, 1, staged), (1, 2, staged)]), None, "known already");
        assert_eq!(chosen(0, &[(1, 1, staged)]), None, "one piece, never committed");
        assert_eq!(chosen(0, &[(1, 1, committed)]), Some(1), "it was answered");
        let two = [(1, 1, committed), (1, 2, committed)];
        assert_eq!(chosen(0, &[&two[..], &[(2, 1, staged)]].concat()), Some(1));
        assert_eq!(chosen(0, &[&two[..], &[(2, 1, staged), (2, 2, staged)]].concat()), Some(2));
        // Two nodes have the older version and nothing of this one.
        let four = [(1, 1, committed), (1, 2, committed), (1, 3, committed), (1, 4, committed)];
        assert_eq!(chosen(0, &[&four[..], &[(2, 1, staged), (2, 2, staged)]].concat()), Some(1));
        let three = [(2, 1, staged), (2, 2, staged), (2, 3, staged)];
        assert_eq!(chosen(0, &[&four[..], &three].concat()), Some(2));
    }

    #[test]
    fn half_a_piece_is_no_piece_and_a_node_speaks_for_itself() {
        let mut evidence = Evidence::default();
        add(&mut evidence, 1, 1, false, 2);
        add(&mut evidence, 1, 2, true, 1);
        evidence.add(NodeId::ALL[0], finding(1, Block::B2, false));
        let found = *evidence.files.values().next().unwrap().values().next().unwrap();
        assert_eq!(found.held(), NodeSet::from_bits(0b0001));
        assert_eq!(found.touched(), NodeSet::from_bits(0b0011));
        assert_eq!(found.committed(), NodeSet::from_bits(0b0001));
        // Between the two renames of a commit.
        evidence.add(NodeId::ALL[1], finding(1, Block::B2, false));
        let found = *evidence.files.values().next().unwrap().values().next().unwrap();
        assert_eq!((found.held().len(), found.committed().len(), found.named().len()), (2, 1, 2));
    }

    #[test]
    fn a_version_that_was_moved_on_some_nodes_only_is_one_version() {
        let mut evidence = Evidence::default();
        add(&mut evidence, 1, 1, false, 2);
        add(&mut evidence, 1, 3, true, 2);
        let named = |path: &str| Place {
            user: UserName::parse("demo").unwrap(),
            path: FilePath::parse_rooted(path).unwrap(),
        };
        // Node 2 has made the move, node 4 is half-way through it.
        let at_b = |block| match finding(1, block, false) {
            Finding::Block { is_staged, version, seq, bytes, blake3, stored_ms, .. } => {
                let place = named("b");
                Finding::Block { block, place, is_staged, version, seq, bytes, blake3, stored_ms }
            }
            other => other,
        };
        for block in [Block::B1, Block::B2, Block::O3] {
            evidence.add(block.node(), at_b(block));
        }
        evidence.add(NodeId::ALL[3], finding(1, Block::O4, false));
        let state =
            State { seq: Seq(1), version: VersionId([1; 16]), bytes: 5, blake3: Digest([1; 32]) };
        let Place { user, path } = named("b");
        let found = evidence.of(&user, &path, &state);
        assert_eq!(found.held(), NodeSet::ALL);
        assert_eq!(found.committed(), NodeSet::from_bits(0b0010));
        let elsewhere = |node: usize| evidence.elsewhere(NodeId::ALL[node], &named("b"), &state);
        assert_eq!(elsewhere(0), [named("a").path]);
        assert!(elsewhere(1).is_empty() && elsewhere(2).is_empty(), "in its place, and staged");
        assert_eq!(elsewhere(3), [named("a").path]);
        // Where nothing else tells: staged blocks are called as they were stored.
        assert_eq!(evidence.home(&state), Some(&(user, path)));
    }
}

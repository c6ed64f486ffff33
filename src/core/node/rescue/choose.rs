//! Which version of which file to write: decided from what was found, without a look at a disk.
//!
//! - A version is called what its blocks under final names are called, since a move renames blocks
//!   and leaves trailers alone; one that is only staged is called what its trailer says. Where a
//!   move has reached some nodes only, the name that is not the trailer's is the newer one.
//! - Of several versions of a file the highest number is the current one. It is staged on one node
//!   and not on another in two cases that cannot be told apart: its store was broken off, or it was
//!   answered with three of four nodes. So it counts; if it cannot be rebuilt, an older version does
//!   not get the file's name.
//! - One exception can be proven. An answered version is on three of the four nodes at least. If two
//!   nodes have an older version in its place and nothing of it, it was never answered.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use super::walk::{Found, Named, Nameless, State, TakenFor, Unread};
use crate::core::path::{FilePath, FolderPath, UserName};
use crate::core::types::{Block, NodeSet};
use crate::core::wire::node::Place;

/// The longest name that file systems take, in bytes.
const FILE_NAME_BYTES_MAX: usize = 255;

/// One version and where its blocks lie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Version {
    pub(super) state: State,
    /// The block files that say they are of this version, in the order of [`Block::ALL`].
    pub(super) blocks: [Vec<PathBuf>; 8],
    /// Those that may be, their trailers being damaged, and what is wrong with them.
    pub(super) maybe: [Vec<(PathBuf, String)>; 8],
    /// Nodes that have it under its final name.
    committed: NodeSet,
}

impl Version {
    /// The nodes that have any of it, or may.
    pub(super) fn nodes(&self) -> NodeSet {
        let has = |block: &Block| {
            !self.blocks[block.index()].is_empty() || !self.maybe[block.index()].is_empty()
        };
        Block::ALL.into_iter().filter(has).map(Block::node).collect()
    }

    /// Has no node at hand been told to commit it?
    pub(super) fn is_staged_only(&self) -> bool {
        self.committed.is_empty()
    }
}

/// One file and its versions, as far as they were found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredFile {
    /// Whose it is and what it is called.
    pub place: Place,
    /// Newest first; none if no block of it names itself.
    pub(super) versions: Vec<Version>,
    /// There is a folder of this name, too: one of both was removed while a node was away.
    pub(super) is_folder_too: bool,
    /// Blocks of it that do not name themselves.
    pub(super) nameless: Vec<(Block, String)>,
}

impl StoredFile {
    /// The size of its newest version.
    pub fn bytes(&self) -> u64 {
        self.versions.first().map_or(0, |version| version.state.file_bytes)
    }
}

/// What is in the folders at hand, put in order.
#[derive(Default, Debug)]
pub struct Survey {
    /// By user and path.
    pub files: Vec<StoredFile>,
    /// Every folder of every user, the top folders as well.
    pub folders: BTreeSet<(UserName, FolderPath)>,
    /// What could not be read, so that files may be missing.
    pub unread: Vec<Unread>,
}

impl Survey {
    /// Orders what was found. Only files of this user, if one is named.
    pub(super) fn of(found: Found, user: Option<&UserName>) -> Survey {
        let is_wanted = |owner: &UserName| user.is_none_or(|only| only == owner);
        let Found { named, nameless, mut folders, mut unread } = found;
        folders.retain(|(owner, _)| is_wanted(owner));
        let mut files = files_of(named);
        for block in nameless {
            attach(block, &mut files, &mut unread, user.is_none());
        }
        let mut files: Vec<StoredFile> =
            files.into_values().filter(|file| is_wanted(&file.place.user)).collect();
        for file in &mut files {
            file.versions.sort_by_key(|version| Reverse(version.state));
            drop_unanswered(&mut file.versions);
            let own = (file.place.user.clone(), file.place.path.as_folder());
            file.is_folder_too = folders.contains(&own);
        }
        Survey { files, folders, unread }
    }

    /// The users that have a file or folder here.
    pub fn users(&self) -> BTreeSet<&UserName> {
        let owners = self.files.iter().map(|file| &file.place.user);
        owners.chain(self.folders.iter().map(|(user, _)| user)).collect()
    }

    /// What an older version of a file is called beside it, in the same folder: a name that no file
    /// or folder has.
    pub(super) fn beside(&self, place: &Place, state: &State) -> String {
        let name = place.path.name();
        (0u64..)
            .map(|attempt| {
                let more = if attempt == 0 { String::new() } else { format!("-{attempt}") };
                let ending = format!(".older-{}{more}", state.seq);
                let room = FILE_NAME_BYTES_MAX - ending.len();
                let cut = (0..=room.min(name.len())).rev().find(|at| name.is_char_boundary(*at));
                format!("{}{ending}", &name[..cut.unwrap_or(0)])
            })
            .find(|candidate| !self.has(place, candidate))
            .unwrap_or_else(|| unreachable!("there are more numbers than files"))
    }

    /// Is there anything of this name beside this file?
    fn has(&self, place: &Place, name: &str) -> bool {
        // A name that is too long for a stored file is no stored file's.
        let Ok(path) = place.path.folder().join(name) else { return false };
        let key = |file: &StoredFile| (file.place.user.clone(), file.place.path.clone());
        let folder = (place.user.clone(), path.as_folder());
        self.folders.contains(&folder)
            || self.files.binary_search_by_key(&(folder.0, path), key).is_ok()
    }
}

type Files = BTreeMap<(UserName, FilePath), StoredFile>;

fn entry(files: &mut Files, place: Place) -> &mut StoredFile {
    files.entry((place.user.clone(), place.path.clone())).or_insert_with(|| StoredFile {
        place,
        versions: Vec::new(),
        is_folder_too: false,
        nameless: Vec::new(),
    })
}

fn files_of(named: Vec<Named>) -> Files {
    // Blocks that disagree about their version's size or digest are of different states, so that no
    // two of them are ever mixed.
    let mut states: BTreeMap<State, Vec<Named>> = BTreeMap::new();
    for block in named {
        states.entry(block.state).or_default().push(block);
    }
    let mut files = Files::new();
    for (state, blocks) in states {
        let place = called(&blocks);
        let mut version = Version {
            state,
            blocks: Default::default(),
            maybe: Default::default(),
            committed: NodeSet::EMPTY,
        };
        for block in blocks {
            if block.lies_as.is_some() {
                version.committed.insert(block.block.node());
            }
            version.blocks[block.block.index()].push(block.at);
        }
        entry(&mut files, place).versions.push(version);
    }
    files
}

/// What a version is called, by all its blocks.
fn called(blocks: &[Named]) -> Place {
    let stored_as = &blocks[0].stored_as;
    let mut votes: BTreeMap<(bool, usize, &FilePath), &Place> = BTreeMap::new();
    for block in blocks {
        let Some(place) = &block.lies_as else { continue };
        let count = blocks.iter().filter(|other| other.lies_as.as_ref() == Some(place)).count();
        // Each by its own trailer: one that was rebuilt after a move names the place of then.
        votes.insert((*place != block.stored_as, count, &place.path), place);
    }
    votes.into_values().next_back().unwrap_or(stored_as).clone()
}

/// Adds a block without a name of its own to the versions that it may belong to.
fn attach(block: Nameless, files: &mut Files, unread: &mut Vec<Unread>, tell: bool) {
    let Nameless { at, block, taken_for, why } = block;
    match taken_for {
        TakenFor::File(place) => {
            let file = entry(files, place);
            file.nameless.push((block, why.clone()));
            for version in &mut file.versions {
                version.maybe[block.index()].push((at.clone(), why.clone()));
            }
        }
        TakenFor::Version(id) => {
            let mut versions = files.values_mut().flat_map(|file| &mut file.versions);
            match versions.find(|version| version.state.version == id) {
                Some(version) => version.maybe[block.index()].push((at, why)),
                // Whose file it was cannot be told; but that there was one can.
                None if tell => unread.push(Unread { at, why }),
                None => {}
            }
        }
    }
}

/// Drops versions, sorted from the newest on, that were certainly never answered.
fn drop_unanswered(versions: &mut Vec<Version>) {
    let mut older = NodeSet::EMPTY;
    let mut kept: Vec<Version> = Vec::new();
    for version in std::mem::take(versions).into_iter().rev() {
        let lacking = older.and(version.nodes().complement());
        if version.is_staged_only() && lacking.len() >= 2 {
            continue;
        }
        older = older.iter().chain(version.committed.iter()).collect();
        kept.push(version);
    }
    kept.reverse();
    *versions = kept;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::types::{Digest, NodeId, Seq, VersionId};

    fn place(path: &str) -> Place {
        Place {
            user: UserName::parse("demo").unwrap(),
            path: FilePath::parse_rooted(path).unwrap(),
        }
    }

    /// Both blocks of version `n`, stored as `a`, on this node; staged if it lies nowhere else.
    fn piece(n: u8, node: u8, lies_as: Option<&str>) -> Vec<Named> {
        let state = State {
            seq: Seq(n.into()),
            version: VersionId([n; 16]),
            file_bytes: 100,
            blake3: Digest([n; 32]),
        };
        let block = |block: Block| Named {
            at: PathBuf::from(format!("{node}/{n}_{block}")),
            block,
            state,
            stored_as: place("a"),
            lies_as: lies_as.map(place),
        };
        NodeId::new(node).unwrap().blocks().map(block).to_vec()
    }

    fn survey(pieces: &[Vec<Named>]) -> Survey {
        Survey::of(Found { named: pieces.concat(), ..Found::default() }, None)
    }

    /// The numbers of the versions of the only file, newest first.
    fn versions(pieces: &[Vec<Named>]) -> Vec<u64> {
        let survey = survey(pieces);
        assert_eq!(survey.files.len(), 1, "{survey:?}");
        survey.files[0].versions.iter().map(|version| version.state.seq.0).collect()
    }

    #[test]
    fn a_staged_version_counts_unless_two_nodes_prove_that_it_was_never_answered() {
        let [one, two, three] = [1, 2, 3].map(|node| piece(1, node, Some("a")));
        let newer = |node| piece(2, node, None);
        // Staged on one of two: it may have been answered with the two nodes that are not here.
        assert_eq!(versions(&[one.clone(), two.clone(), newer(1)]), [2, 1]);
        // Two nodes of three never had it: at most two nodes have.
        let three_nodes = [one.clone(), two.clone(), three.clone()];
        assert_eq!(versions(&[&three_nodes[..], &[newer(1)]].concat()), [1]);
        assert_eq!(versions(&[&three_nodes[..], &[newer(1), newer(2)]].concat()), [2, 1]);
        // Committed anywhere, it was answered.
        assert_eq!(versions(&[one, two, piece(2, 3, Some("a"))]), [2, 1]);
        // Nodes that have nothing prove nothing: they may have lost it.
        assert_eq!(versions(&[newer(1)]), [2]);
    }

    #[test]
    fn a_file_is_called_what_its_blocks_are_called() {
        let name = |pieces: &[Vec<Named>]| {
            let survey = survey(pieces);
            assert_eq!(survey.files.len(), 1);
            survey.files[0].place.path.as_str().to_owned()
        };
        assert_eq!(name(&[piece(1, 1, None), piece(1, 2, None)]), "a");
        assert_eq!(name(&[piece(1, 1, Some("b")), piece(1, 2, Some("b"))]), "b");
        assert_eq!(name(&[piece(1, 1, Some("b")), piece(1, 2, None)]), "b");
        // A move that only one node has been told of.
        assert_eq!(name(&[piece(1, 1, Some("a")), piece(1, 2, Some("b"))]), "b");
        assert_eq!(name(&[piece(1, 1, Some("b")), piece(1, 2, Some("a"))]), "b");
    }

    #[test]
    fn blocks_that_disagree_about_their_file_are_never_mixed() {
        let mut other = piece(1, 2, Some("a"));
        other.iter_mut().for_each(|block| block.state.file_bytes = 101);
        assert_eq!(versions(&[piece(1, 1, Some("a")), other]), [1, 1]);
    }

    #[test]
    fn an_older_version_takes_nobodys_name() {
        let mut survey = survey(&[piece(7, 1, Some("x/a")), piece(8, 1, Some("x/a.older-7"))]);
        let state = survey.files[0].versions[0].state;
        let file = place("x/a");
        assert_eq!(survey.beside(&file, &state), "a.older-7-1");
        let folder = FolderPath::parse("x/a.older-7-1").unwrap();
        survey.folders.insert((file.user.clone(), folder));
        assert_eq!(survey.beside(&file, &state), "a.older-7-2");
        let long = place(&"é".repeat(120));
        let beside = survey.beside(&long, &state);
        assert!(beside.len() <= 255 && beside.ends_with("é.older-7"), "{beside}");
    }

    #[test]
    fn a_block_without_a_trailer_may_be_of_any_version_of_its_file() {
        let nameless = |taken_for| Nameless {
            at: "x".into(),
            block: Block::B1,
            taken_for,
            why: "cut off".into(),
        };
        let of = |taken_for| {
            let named = piece(1, 1, Some("a"));
            Survey::of(
                Found { named, nameless: vec![nameless(taken_for)], ..Found::default() },
                None,
            )
        };
        let survey = of(TakenFor::File(place("a")));
        assert_eq!(survey.files[0].versions[0].nodes().to_string(), "nodes 1 and 2");
        let survey = of(TakenFor::Version(VersionId([1; 16])));
        assert_eq!(survey.files[0].versions[0].maybe[Block::B1.index()].len(), 1);
        // Nobody else knows that file, or that version.
        let survey = of(TakenFor::File(place("b")));
        assert_eq!(survey.files.len(), 2);
        assert!(survey.files[1].versions.is_empty());
        assert_eq!(of(TakenFor::Version(VersionId([2; 16]))).unread.len(), 1);
    }
}

//! Which version of which file to write: decided from what was found, without a look at a disk.
//!
//! Where a journal says what everything is called:
//!
//! - Its current versions are the files. One that is not there is told as lost. Versions that it does
//!   not name were replaced, deleted or never answered, and are left alone; one that was stored under
//!   the name of a lost file is offered in its place.
//! - An answered change is in the journals of three nodes, so in one of any two. Where fewer than two
//!   journals are at hand, versions newer than the journal count as stored after it.
//!
//! Where there is none:
//!
//! - A version is called what the nodes' views call it, else what its trailers say. Where a move has
//!   reached some views only, the name that is not the trailer's is the newer one.
//! - Of several versions of a file the highest number is the current one. One that no view names has
//!   just been answered, or its store was broken off. So it counts; if it cannot be rebuilt, an older
//!   version does not get the file's name.
//! - One exception can be proven. An answered version is on three of the four nodes at least. If two
//!   nodes have an older version in its place and nothing of it, it was never answered.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::path::PathBuf;

use super::Selected;
use super::history::History;
use super::joined::{self, Part};
use super::walk::{BlockAt, Found, Named, Nameless, State, TakenFor, Unread, Viewed};
use crate::core::chronicle::FormerVersion;
use crate::core::names::{self, Names};
use crate::core::path::{FilePath, FolderPath, UserName};
use crate::core::types::{Block, FileAttributes, Moment, NodeSet, VersionId};
use crate::core::wire::journal::{Change, Point};
use crate::core::wire::node::Place;
use crate::core::wire::trailer::PartOf;

/// The longest name that file systems take, in bytes.
const FILE_NAME_BYTES_MAX: usize = 255;

/// How many journals have all that was answered.
const JOURNALS_ENOUGH: usize = 2;

/// One version and where its blocks lie.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Version {
    pub(super) state: State,
    /// The blocks that say they are of this version, in the order of [`Block::ALL`].
    pub(super) blocks: [Vec<BlockAt>; 8],
    /// Files that may be, their trailers being damaged, and what is wrong with them.
    pub(super) maybe: [Vec<(PathBuf, String)>; 8],
    /// What it was called when it was stored.
    pub(super) stored_as: Place,
    /// What the nodes' views call it.
    pub(super) viewed: Vec<Viewed>,
    /// Of which upload it may be an extent.
    pub(super) part: Option<PartOf>,
    /// What it is made of, if it has no blocks of its own.
    pub(super) parts: Vec<Part>,
    /// Is the digest of its state known?
    pub(super) has_digest: bool,
}

impl Version {
    /// One that is made of these parts.
    pub(super) fn joined(state: State, stored_as: Place, parts: Vec<Part>) -> Version {
        Version {
            state,
            blocks: Default::default(),
            maybe: Default::default(),
            stored_as,
            viewed: Vec::new(),
            part: None,
            parts,
            has_digest: false,
        }
    }

    /// Is it only a part of a file, as far as its trailers say?
    pub(super) fn is_part(&self) -> bool {
        let is_less = |part: PartOf| part.whole_bytes != Some(self.state.file_bytes);
        self.part.is_some_and(is_less) && self.viewed.is_empty()
    }

    /// The nodes that have any of it, or may.
    pub(super) fn nodes(&self) -> NodeSet {
        if !self.parts.is_empty() {
            let of = self.parts.iter().filter_map(|part| part.version.as_ref());
            return of.fold(NodeSet::EMPTY, |all, version| all.or(version.nodes()));
        }
        let has = |block: &Block| {
            !self.blocks[block.index()].is_empty() || !self.maybe[block.index()].is_empty()
        };
        Block::ALL.into_iter().filter(has).map(Block::node).collect()
    }

    /// What it is called, if no journal says it.
    fn called(&self) -> &Place {
        let votes = self.viewed.iter().map(|own| {
            let nodes: NodeSet =
                self.viewed.iter().filter(|v| v.place == own.place).map(|v| v.node).collect();
            // One that was rebuilt after a move names the place of then.
            (own.place != self.stored_as, nodes.len(), own.place.path.as_str(), &own.place)
        });
        let best = votes.max_by_key(|(is_newer, count, path, _)| (*is_newer, *count, *path));
        best.map_or(&self.stored_as, |(.., place)| place)
    }
}

/// One file and its versions, as far as they were found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct StoredFile {
    /// Whose it is and what it is called.
    pub place: Place,
    /// Its current version, if a journal says it.
    pub(super) current: Option<VersionId>,
    /// Newest first; none if no block of it names itself.
    pub(super) versions: Vec<Version>,
    /// There is a folder of this name, too: one of both was removed while a node was away.
    pub(super) is_folder_too: bool,
    /// Blocks of it that do not name themselves.
    pub(super) nameless: Vec<(Block, String)>,
}

impl StoredFile {
    fn new(place: Place, current: Option<VersionId>) -> StoredFile {
        let (versions, nameless) = (Vec::new(), Vec::new());
        StoredFile { place, current, versions, is_folder_too: false, nameless }
    }

    /// The size of its current version.
    pub fn bytes(&self) -> u64 {
        self.newest().map_or(0, |version| version.state.file_bytes)
    }

    /// Its current version, if any block of it names itself.
    pub(super) fn newest(&self) -> Option<&Version> {
        let is_current = |id: VersionId| self.current.is_none_or(|current| current == id);
        self.versions.first().filter(|version| is_current(version.state.version))
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
    /// The last entry of the journal that the names are from; `None` if they are from the nodes' views
    /// and from the blocks themselves.
    pub journal: Option<Point>,
    /// Users of whom some of what was wanted may have been let go of before.
    pub known_in_part: Vec<UserName>,
    /// What versions keep besides their bytes, by the journal.
    pub(super) attributes: HashMap<VersionId, FileAttributes>,
    /// Is there any view?
    has_views: bool,
}

impl Survey {
    /// Orders what was found, with the history that the names are from and the number of journals that
    /// it was read from. Only files of this user, if one is named.
    pub(super) fn of(
        found: Found,
        history: Option<History>,
        journals: usize,
        wanted: &Selected,
    ) -> Survey {
        let user = wanted.user.as_ref();
        let Found { named, viewed, nameless, mut folders, mut unread } = found;
        let has_views = !viewed.is_empty();
        let journal = history.as_ref().map(|history| history.end);
        let mut versions = versions_of(named, viewed);
        let mut attributes = HashMap::new();
        let mut files = match history {
            Some(mut history) => {
                attributes = std::mem::take(&mut history.attributes);
                versions.extend(history.joins.versions(&versions));
                if journals < JOURNALS_ENOUGH {
                    add_newer(&mut history, &versions);
                }
                folders.clear();
                let former = if wanted.former { history.chronicle.former() } else { Vec::new() };
                files_by_names(&history.names, versions, &former, &mut folders)
            }
            None => {
                let mut files = Files::new();
                let joined = joined::by_trailers(&mut versions);
                versions.extend(joined);
                for version in versions.drain(..) {
                    entry(&mut files, version.called().clone()).versions.push(version);
                }
                files
            }
        };
        // What is damaged and in no journal is nobody's.
        let tell = user.is_none() && journal.is_none();
        attach(nameless, &mut files, &mut unread, tell, journal.is_none());
        let is_wanted = |owner: &UserName| user.is_none_or(|only| only == owner);
        folders.retain(|(owner, _)| is_wanted(owner));
        let mut files: Vec<StoredFile> =
            files.into_values().filter(|file| is_wanted(&file.place.user)).collect();
        for file in &mut files {
            let current = file.current;
            file.versions
                .sort_by_key(|own| (Some(own.state.version) != current, Reverse(own.state)));
            if current.is_none() {
                drop_unanswered(&mut file.versions);
            }
            let own = (file.place.user.clone(), file.place.path.as_folder());
            file.is_folder_too = folders.contains(&own);
        }
        let known_in_part = Vec::new();
        Survey { files, folders, unread, journal, known_in_part, attributes, has_views }
    }

    /// May this version never have been answered?
    pub(super) fn is_unsure(&self, version: &Version) -> bool {
        self.journal.is_none() && self.has_views && version.viewed.is_empty()
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
    files
        .entry((place.user.clone(), place.path.clone()))
        .or_insert_with(|| StoredFile::new(place, None))
}

/// Blocks that disagree about their version's size or digest are of different states, so that no two
/// of them are ever mixed. In the order of sequence numbers.
fn versions_of(named: Vec<Named>, viewed: Vec<Viewed>) -> Vec<Version> {
    let mut versions: BTreeMap<State, Version> = BTreeMap::new();
    for Named { at, block, state, stored_as, part } in named {
        let version = versions.entry(state).or_insert_with(|| Version {
            part,
            has_digest: true,
            ..Version::joined(state, stored_as, Vec::new())
        });
        // One that was made again after its file was whole names no upload.
        version.part = version.part.and(part);
        version.blocks[block.index()].push(at);
    }
    let mut views: HashMap<VersionId, Vec<Viewed>> = HashMap::new();
    for own in viewed {
        views.entry(own.version).or_default().push(own);
    }
    let mut versions: Vec<Version> = versions.into_values().collect();
    for version in &mut versions {
        version.viewed = views.get(&version.state.version).cloned().unwrap_or_default();
    }
    versions
}

/// Takes versions that are newer than the history as stored after it.
fn add_newer(history: &mut History, versions: &[Version]) {
    let is_newer = |version: &&Version| version.state.seq > history.last_seq && !version.is_part();
    let newer = versions.iter().filter(is_newer);
    for version in newer.collect::<Vec<_>>() {
        history.names.apply(
            Moment(0),
            &Change::Stored {
                place: version.called().clone(),
                version: version.state.version,
                seq: version.state.seq,
                bytes: version.state.file_bytes,
                blake3: version.state.blake3,
                stored_ms: 0,
                placed: version.nodes(),
                inline: false,
                by: String::new(),
                attributes: Default::default(),
            },
        );
    }
}

/// The files that a history names, each with what was found of its current version, and with what else
/// was stored in its place.
fn files_by_names(
    names: &Names,
    versions: Vec<Version>,
    former: &[FormerVersion],
    folders: &mut BTreeSet<(UserName, FolderPath)>,
) -> Files {
    let mut files = Files::new();
    let mut places: HashMap<VersionId, Vec<Place>> = HashMap::new();
    names.walk(&mut |user, path, folder| {
        folders.insert((user.clone(), path.clone()));
        for (name, named) in folder.entries() {
            let (names::Named::File(version), Ok(path)) = (named, path.join(name)) else {
                continue;
            };
            let place = Place { user: user.clone(), path };
            places.entry(*version).or_default().push(place.clone());
            let key = (place.user.clone(), place.path.clone());
            files.insert(key, StoredFile::new(place, Some(*version)));
        }
    });
    let numbers: HashMap<VersionId, &State> =
        versions.iter().map(|version| (version.state.version, &version.state)).collect();
    for own in former {
        if places.contains_key(&own.version) {
            continue;
        }
        let Some(place) = beside_of(own, numbers.get(&own.version).copied(), &files) else {
            continue;
        };
        for folder in place.path.folder().ancestry() {
            folders.insert((place.user.clone(), folder));
        }
        places.insert(own.version, vec![place.clone()]);
        let key = (place.user.clone(), place.path.clone());
        files.insert(key, StoredFile::new(place, Some(own.version)));
    }
    for version in versions {
        let id = version.state.version;
        if version.is_part() && !places.contains_key(&id) {
            continue;
        }
        let called = [version.called().clone()];
        for place in places.get(&version.state.version).map_or(&called[..], Vec::as_slice) {
            if let Some(file) = files.get_mut(&(place.user.clone(), place.path.clone())) {
                file.versions.push(version.clone());
            }
        }
    }
    files
}

/// What a former version of a file is called beside it: a name that no file has. `None` if nothing is left
/// of it.
fn beside_of(own: &FormerVersion, state: Option<&State>, files: &Files) -> Option<Place> {
    let (name, seq) = (own.place.path.name(), state?.seq);
    let ending = format!(".kept-{seq}");
    let room = FILE_NAME_BYTES_MAX.checked_sub(ending.len())?;
    let cut = (0..=room.min(name.len())).rev().find(|at| name.is_char_boundary(*at))?;
    let path = own.place.path.folder().join(&format!("{}{ending}", &name[..cut])).ok()?;
    let place = Place { user: own.place.user.clone(), path };
    (!files.contains_key(&(place.user.clone(), place.path.clone()))).then_some(place)
}

/// Adds blocks without a name of their own to the versions that they may belong to. With `may_make`
/// they may be all that there is of a file.
fn attach(
    nameless: Vec<Nameless>,
    files: &mut Files,
    unread: &mut Vec<Unread>,
    tell: bool,
    may_make: bool,
) {
    // Where the versions are that such blocks say they are of.
    let wanted: HashSet<VersionId> = nameless
        .iter()
        .filter_map(|block| match block.taken_for {
            TakenFor::Version(id) => Some(id),
            TakenFor::File(_) => None,
        })
        .collect();
    let mut places: HashMap<VersionId, Place> = HashMap::new();
    for file in files.values() {
        let parts = file.versions.iter().flat_map(|version| &version.parts);
        let own = file.versions.iter().map(|version| version.state.version).chain(file.current);
        let own = own.chain(parts.map(|part| part.extent.version));
        places.extend(own.filter(|id| wanted.contains(id)).map(|id| (id, file.place.clone())));
    }
    for Nameless { at, block, taken_for, why } in nameless {
        let (place, id) = match taken_for {
            TakenFor::File(place) => (place, None),
            TakenFor::Version(id) => match places.get(&id) {
                Some(place) => (place.clone(), Some(id)),
                None => {
                    // Whose file it was is unknown; but that there was one is not.
                    unread.extend(tell.then_some(Unread { at, why }));
                    continue;
                }
            },
        };
        let file = match files.get_mut(&(place.user.clone(), place.path.clone())) {
            Some(file) => file,
            None if may_make => entry(files, place),
            None => continue,
        };
        file.nameless.push((block, why.clone()));
        let own = file.versions.iter_mut();
        for version in own {
            let parts = version.parts.iter_mut().filter_map(|part| part.version.as_mut());
            for part in parts.filter(|own| id == Some(own.state.version)) {
                part.maybe[block.index()].push((at.clone(), why.clone()));
            }
            if id.is_none_or(|id| id == version.state.version) {
                version.maybe[block.index()].push((at.clone(), why.clone()));
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
        if version.viewed.is_empty() && lacking.len() >= 2 {
            continue;
        }
        older = older.or(version.nodes());
        kept.push(version);
    }
    kept.reverse();
    *versions = kept;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::types::{ClusterId, Digest, NodeId, Seq};

    fn place(path: &str) -> Place {
        Place {
            user: UserName::parse("demo").unwrap(),
            path: FilePath::parse_rooted(path).unwrap(),
        }
    }

    /// Both blocks of version `n`, stored as `a`, on this node, and what its view calls them.
    fn piece(n: u8, node: u8, viewed_as: Option<&str>) -> Found {
        let state = State {
            seq: Seq(n.into()),
            version: VersionId([n; 16]),
            file_bytes: 100,
            blake3: Digest([n; 32]),
        };
        let at = |block| BlockAt::File(PathBuf::from(format!("{node}/{n}_{block}")));
        let node = NodeId::new(node).unwrap();
        let named = |block: Block| {
            let (at, stored_as) = (at(block), place("a"));
            Named { at, block, state, stored_as, part: None }
        };
        let viewed = |path| Viewed { version: state.version, node, place: place(path) };
        Found {
            named: node.blocks().map(named).to_vec(),
            viewed: viewed_as.map(viewed).into_iter().collect(),
            ..Found::default()
        }
    }

    fn all(pieces: Vec<Found>) -> Found {
        let mut all = Found::default();
        for own in pieces {
            all.named.extend(own.named);
            all.viewed.extend(own.viewed);
        }
        all
    }

    fn survey(pieces: Vec<Found>) -> Survey {
        Survey::of(all(pieces), None, 0, &Selected::default())
    }

    fn history(stores: &[(&str, u8)]) -> History {
        let end = Point::start(ClusterId([1; 16]));
        let mut history = History::starting_at(end);
        for (path, n) in stores {
            history.apply(
                Moment(0),
                &Change::Stored {
                    place: place(path),
                    version: VersionId([*n; 16]),
                    seq: Seq((*n).into()),
                    bytes: 100,
                    blake3: Digest([*n; 32]),
                    stored_ms: 0,
                    placed: NodeSet::ALL,
                    inline: false,
                    by: String::new(),
                    attributes: Default::default(),
                },
            );
        }
        history
    }

    /// The numbers of a file's versions, newest first.
    fn numbers(file: &StoredFile) -> Vec<u64> {
        file.versions.iter().map(|version| version.state.seq.0).collect()
    }

    /// Those of the only file.
    fn versions(pieces: Vec<Found>) -> Vec<u64> {
        let survey = survey(pieces);
        assert_eq!(survey.files.len(), 1, "{survey:?}");
        numbers(&survey.files[0])
    }

    #[test]
    fn a_version_in_no_view_counts_unless_two_nodes_prove_that_it_was_never_answered() {
        let old = |node| piece(1, node, Some("a"));
        let new = |node| piece(2, node, None);
        // On one of two: it may have been answered with the two nodes that are not here.
        assert_eq!(versions(vec![old(1), old(2), new(1)]), [2, 1]);
        // Two nodes of three never had it: at most two nodes have.
        assert_eq!(versions(vec![old(1), old(2), old(3), new(1)]), [1]);
        assert_eq!(versions(vec![old(1), old(2), old(3), new(1), new(2)]), [2, 1]);
        // In any view, it was answered.
        assert_eq!(versions(vec![old(1), old(2), piece(2, 3, Some("a"))]), [2, 1]);
        // Nodes that have nothing prove nothing: they may have lost it.
        assert_eq!(versions(vec![new(1)]), [2]);
    }

    #[test]
    fn without_a_journal_a_file_is_called_what_the_views_call_it() {
        let name = |pieces| {
            let survey = survey(pieces);
            assert_eq!(survey.files.len(), 1);
            survey.files[0].place.path.as_str().to_owned()
        };
        assert_eq!(name(vec![piece(1, 1, None), piece(1, 2, None)]), "a");
        assert_eq!(name(vec![piece(1, 1, Some("b")), piece(1, 2, Some("b"))]), "b");
        assert_eq!(name(vec![piece(1, 1, Some("b")), piece(1, 2, None)]), "b");
        // A move that only one node has followed.
        assert_eq!(name(vec![piece(1, 1, Some("a")), piece(1, 2, Some("b"))]), "b");
        assert_eq!(name(vec![piece(1, 1, Some("b")), piece(1, 2, Some("a"))]), "b");
    }

    #[test]
    fn a_journal_decides_what_is_a_file_and_what_it_is_called() {
        let found = all(vec![
            piece(1, 1, Some("a")),
            piece(2, 1, None),
            piece(3, 1, Some("gone")),
            piece(4, 1, Some("x")),
        ]);
        let survey = Survey::of(
            found,
            Some(history(&[("a", 2), ("x/y", 4), ("z", 5)])),
            2,
            &Selected::default(),
        );
        let files: Vec<_> =
            survey.files.iter().map(|file| (file.place.path.as_str(), numbers(file))).collect();
        // The older version is offered where the current one is lost, the deleted one nowhere.
        assert_eq!(files, [("a", vec![2, 1]), ("x/y", vec![4]), ("z", vec![])]);
        assert!(survey.files[2].newest().is_none() && survey.files[1].newest().is_some());
        let folders: Vec<_> = survey.folders.iter().map(|(_, path)| path.as_str()).collect();
        assert_eq!(folders, ["", "x"]);
    }

    #[test]
    fn the_current_version_comes_first_whatever_its_number() {
        let found = all(vec![piece(1, 1, None), piece(2, 1, None)]);
        let survey =
            Survey::of(found, Some(history(&[("a", 2), ("a", 1)])), 2, &Selected::default());
        assert_eq!(numbers(&survey.files[0]), [1, 2]);
    }

    #[test]
    fn with_one_journal_alone_what_is_newer_counts_as_stored_after_it() {
        let found = || all(vec![piece(1, 1, None), piece(3, 2, Some("b")), piece(4, 1, None)]);
        let with = |journals| {
            let survey =
                Survey::of(found(), Some(history(&[("c", 3)])), journals, &Selected::default());
            let names = survey.files.iter().map(|file| file.place.path.as_str().to_owned());
            names.collect::<Vec<_>>()
        };
        assert_eq!(with(2), ["c"]);
        assert_eq!(with(1), ["a", "c"], "number 4 is newer, number 1 was replaced or deleted");
    }

    #[test]
    fn blocks_that_disagree_about_their_file_are_never_mixed() {
        let mut other = piece(1, 2, Some("a"));
        other.named.iter_mut().for_each(|block| block.state.file_bytes = 101);
        assert_eq!(versions(vec![piece(1, 1, Some("a")), other]), [1, 1]);
    }

    #[test]
    fn an_older_version_takes_nobodys_name() {
        let pieces = vec![piece(7, 1, Some("x/a")), piece(8, 1, Some("x/a.older-7"))];
        let mut survey = survey(pieces);
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
        let of = |taken_for, history| {
            let why = "cut off".to_owned();
            let nameless = Nameless { at: "x".into(), block: Block::B1, taken_for, why };
            let found = Found { nameless: vec![nameless], ..piece(1, 1, Some("a")) };
            Survey::of(found, history, 2, &Selected::default())
        };
        let one = VersionId([1; 16]);
        let survey = of(TakenFor::File(place("a")), None);
        assert_eq!(survey.files[0].versions[0].nodes().to_string(), "nodes 1 and 2");
        let survey = of(TakenFor::Version(one), None);
        assert_eq!(survey.files[0].versions[0].maybe[Block::B1.index()].len(), 1);
        // Nobody else knows that file, or that version.
        let survey = of(TakenFor::File(place("b")), None);
        assert_eq!(survey.files.len(), 2);
        assert!(survey.files[1].versions.is_empty());
        assert_eq!(of(TakenFor::Version(VersionId([2; 16])), None).unread.len(), 1);
        // A journal knows that there is no such file, or that it has just this block.
        let survey = of(TakenFor::File(place("b")), Some(history(&[("a", 1)])));
        assert!(survey.files.len() == 1 && survey.unread.is_empty());
        let survey = of(TakenFor::Version(VersionId([2; 16])), Some(history(&[("a", 2)])));
        assert_eq!(survey.files[0].nameless.len(), 1);
    }
}

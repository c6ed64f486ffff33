//! What `sync` is to do, decided from what differs. Only what differs is in memory.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::compare::{Item, Kind};
use super::count::Sum;
use super::judge::Verdict;
use crate::cmd::env::plural;
use crate::core::error::Error;
use crate::core::types::VersionId;

/// Which side is made like the other.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in super::super) enum Direction {
    /// What is stored becomes what is here.
    Up,
    /// What is here becomes what is stored.
    Down,
}

/// Something that the target is to get.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Wanted {
    pub(super) path: String,
    pub(super) kind: WantedKind,
    /// Is it a symbolic link?
    pub(super) is_link: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum WantedKind {
    /// A file of so many bytes that is not there.
    New(u64),
    /// One that is different there.
    Changed(u64),
    /// An empty folder.
    Folder,
}

/// Something that only the target has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct Extra {
    pub(super) path: String,
    pub(super) is_folder: bool,
}

/// The time that a file of the target is to get.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct NewTime {
    pub(super) path: String,
    pub(super) ms: i64,
    /// What is stored.
    pub(super) version: VersionId,
}

/// All of it.
#[derive(Debug)]
pub(super) struct Plan {
    direction: Direction,
    delete: bool,
    pub(super) wanted: Vec<Wanted>,
    /// What is wanted, together.
    pub(super) sum: Sum,
    /// What is to be deleted, if anything is.
    pub(super) extra: Vec<Extra>,
    /// How many files and empty folders only the target has.
    pub(super) only_target: u64,
    pub(super) same: u64,
    /// Files that differ in their times alone, and the times that the target is to get.
    pub(super) only_time: u64,
    pub(super) times: Vec<NewTime>,
    pub(super) bad: Vec<(PathBuf, Error)>,
}

impl Plan {
    pub(super) fn new(direction: Direction, delete: bool) -> Plan {
        let (wanted, extra, times, bad) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let (sum, only_target, same, only_time) = (Sum::default(), 0, 0, 0);
        Plan { direction, delete, wanted, sum, extra, only_target, same, only_time, times, bad }
    }

    /// Is there nothing to do, and nothing to tell of?
    pub(super) fn is_empty(&self) -> bool {
        let Plan { wanted, extra, times, bad, .. } = self;
        wanted.is_empty() && extra.is_empty() && times.is_empty() && bad.is_empty()
    }

    /// Takes in what has come of one path.
    pub(super) fn take(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Folders => {}
            Verdict::Same => self.same += 1,
            Verdict::OnlyTime(path, here, there) => {
                self.only_time += 1;
                let is_up = self.direction == Direction::Up;
                let time = if is_up { here.modified_ms } else { there.modified_ms };
                self.times.extend(time.map(|ms| NewTime { path, ms, version: there.version }));
            }
            Verdict::Different(path, here, there) => {
                let (bytes, is_link) = match self.direction {
                    Direction::Up => (here.bytes, here.is_link),
                    Direction::Down => (there.bytes, there.is_link),
                };
                self.want(path, WantedKind::Changed(bytes), is_link);
            }
            Verdict::Unreadable(path, error) => self.bad.push((path.into(), error)),
            Verdict::Here(item) => {
                self.one_sided(item, Direction::Up, |file| (file.bytes, file.is_link));
            }
            Verdict::There(item) => {
                self.one_sided(item, Direction::Down, |file| (file.bytes, file.is_link));
            }
        }
    }

    fn one_sided<F: PartialEq>(
        &mut self,
        item: Item<F>,
        from: Direction,
        facts: impl Fn(&F) -> (u64, bool),
    ) {
        let Item { path, kind } = item;
        let is_source = from == self.direction;
        match kind {
            Kind::File(file) if is_source => {
                let (bytes, is_link) = facts(&file);
                self.want(path, WantedKind::New(bytes), is_link);
            }
            Kind::Folder { is_empty: true } if is_source => {
                self.want(path, WantedKind::Folder, false);
            }
            // It comes into being with what is in it.
            Kind::Folder { .. } if is_source => {}
            kind => {
                let is_folder = matches!(kind, Kind::Folder { .. });
                self.only_target += u64::from(kind != Kind::Folder { is_empty: false });
                self.extra.extend(self.delete.then_some(Extra { path, is_folder }));
            }
        }
    }

    /// Adds something that the target is to get.
    pub(super) fn want(&mut self, path: String, kind: WantedKind, is_link: bool) {
        if let WantedKind::New(bytes) | WantedKind::Changed(bytes) = kind {
            self.sum.files += 1;
            self.sum.bytes += bytes;
        }
        self.wanted.push(Wanted { path, kind, is_link });
    }

    /// Takes something out that cannot be done.
    pub(super) fn refuse(&mut self, refused: impl Fn(&Wanted) -> Option<(PathBuf, Error)>) {
        let (bad, sum) = (&mut self.bad, &mut self.sum);
        self.wanted.retain(|wanted| {
            let Some(why) = refused(wanted) else { return true };
            bad.push(why);
            if let WantedKind::New(bytes) | WantedKind::Changed(bytes) = wanted.kind {
                sum.files -= 1;
                sum.bytes -= bytes;
            }
            false
        });
    }

    /// Takes out of what is to be deleted what is in the way of what is wanted: a file where a folder is
    /// wanted, and a folder with all that is in it where a file is.
    pub(super) fn split_in_the_way(&mut self) -> Vec<Extra> {
        let wanted: BTreeSet<&str> = self.wanted.iter().map(|own| own.path.as_str()).collect();
        let is_in_the_way = |own: &mut Extra| {
            let inside = format!("{}/", own.path);
            let above = own.path.match_indices('/').map(|(end, _)| &own.path[..end]);
            above.chain([own.path.as_str()]).any(|path| wanted.contains(path))
                || wanted
                    .range(inside.as_str()..)
                    .next()
                    .is_some_and(|own| own.starts_with(&inside))
        };
        self.extra.extract_if(.., is_in_the_way).collect()
    }
}

/// How many files and folders these are: `2 files and 1 folder`.
pub(super) fn counted_extra(files: usize, folders: usize) -> String {
    match (files, folders) {
        (files, 0) => plural(files, "file"),
        (0, folders) => plural(folders, "folder"),
        (files, folders) => format!("{} and {}", plural(files, "file"), plural(folders, "folder")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::compare::{LocalFile, StoredFile};
    use super::*;
    use crate::core::types::Digest;

    const HERE: LocalFile = LocalFile { bytes: 3, modified_ms: Some(1), is_link: false };
    const THERE: StoredFile = StoredFile {
        bytes: 5,
        modified_ms: Some(2),
        is_link: false,
        version: VersionId([7; 16]),
        blake3: Digest([1; 32]),
    };

    fn item<F>(path: &str, file: F) -> Item<F> {
        match path.strip_suffix('/') {
            Some(path) => Item { path: path.into(), kind: Kind::Folder { is_empty: true } },
            None => Item { path: path.into(), kind: Kind::File(file) },
        }
    }

    fn plan(direction: Direction, delete: bool) -> Plan {
        let mut plan = Plan::new(direction, delete);
        for verdict in [
            Verdict::Same,
            Verdict::Folders,
            Verdict::Here(item("mine", HERE)),
            Verdict::Here(item("my folder/", HERE)),
            Verdict::There(item("theirs", THERE)),
            Verdict::There(Item { path: "full".into(), kind: Kind::Folder { is_empty: false } }),
            Verdict::There(item("full/x", THERE)),
            Verdict::Different("both".into(), HERE, THERE),
            Verdict::OnlyTime("old".into(), HERE, THERE),
        ] {
            plan.take(verdict);
        }
        plan
    }

    fn wanted(plan: &Plan) -> Vec<(&str, WantedKind)> {
        plan.wanted.iter().map(|own| (own.path.as_str(), own.kind)).collect()
    }

    fn extra(list: &[Extra]) -> Vec<String> {
        list.iter()
            .map(|own| format!("{}{}", own.path, if own.is_folder { "/" } else { "" }))
            .collect()
    }

    #[test]
    fn what_only_the_source_has_is_wanted_and_what_only_the_target_has_goes_if_it_is_to() {
        use WantedKind::{Changed, Folder, New};
        let up = plan(Direction::Up, true);
        assert_eq!(wanted(&up), [("mine", New(3)), ("my folder", Folder), ("both", Changed(3))]);
        assert_eq!(extra(&up.extra), ["theirs", "full/", "full/x"]);
        assert_eq!((up.sum, up.same, up.only_target), (Sum { files: 2, bytes: 6 }, 1, 2));
        let time = |ms| NewTime { path: "old".into(), ms, version: THERE.version };
        assert_eq!((&up.times[..], up.only_time), (&[time(1)][..], 1));
        let down = plan(Direction::Down, false);
        assert_eq!(wanted(&down), [("theirs", New(5)), ("full/x", New(5)), ("both", Changed(5))]);
        assert!(down.extra.is_empty() && down.only_target == 2, "nothing goes by itself");
        assert_eq!(down.times, [time(2)]);
    }

    #[test]
    fn what_is_in_the_way_is_told_from_the_rest() {
        let mut plan = Plan::new(Direction::Up, true);
        ["f", "d/x/y", "e"]
            .into_iter()
            .for_each(|path| plan.want(path.into(), WantedKind::New(1), false));
        plan.want("g".into(), WantedKind::Folder, false);
        // A folder where the file f is wanted, a file where the folder d is, and neighbours of both.
        for path in
            ["f/", "f/a", "f/b/", "f/b/c", "f.txt", "fa", "d", "d.txt", "e2", "g", "h/", "h/f"]
        {
            let there = item(path, THERE);
            plan.take(Verdict::There(there));
        }
        assert_eq!(extra(&plan.split_in_the_way()), ["f/", "f/a", "f/b/", "f/b/c", "d", "g"]);
        assert_eq!(extra(&plan.extra), ["f.txt", "fa", "d.txt", "e2", "h/", "h/f"]);
    }

    #[test]
    fn what_is_refused_counts_no_more() {
        let mut plan = plan(Direction::Up, false);
        let why = |own: &Wanted| (own.path == "mine").then(|| ("mine".into(), Error::NotSignedIn));
        plan.refuse(why);
        assert_eq!((plan.sum, plan.bad.len()), (Sum { files: 1, bytes: 3 }, 1));
        assert_eq!(wanted(&plan).len(), 2);
    }

    #[test]
    fn what_goes_is_counted_by_kind() {
        assert_eq!(counted_extra(1, 0), "1 file");
        assert_eq!(counted_extra(0, 2), "2 folders");
        assert_eq!(counted_extra(2, 1), "2 files and 1 folder");
    }
}

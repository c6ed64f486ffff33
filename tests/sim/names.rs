//! Names that change in the simulated world: files and folders are moved, folders made and removed.

use std::sync::Arc;

use palk::core::error::{Error, Result};
use palk::core::path::FolderPath;
use palk::core::types::NodeSet;
use palk::core::wire::extended::Entry;
use rand::RngExt;

use super::world::{Content, PATHS, World, file};

/// What becomes of some paths if a change is made.
type Becomes = Vec<(&'static str, Content)>;

/// Folders that are moved, and what may be in them: under the one name and the other.
const FOLDERS: [[&str; 2]; 2] = [["x", "z"], ["z", "x"]];

fn folder(path: &str) -> FolderPath {
    FolderPath::parse(path).unwrap()
}

/// A path of those that are watched.
fn watched(path: &str) -> Option<&'static str> {
    PATHS.into_iter().find(|known| *known == path)
}

impl World {
    /// One of the changes of names.
    pub(crate) fn change_names(&mut self, path: &'static str) {
        match self.random.random_range(0..12) {
            0..=5 => {
                let there: Vec<&str> =
                    PATHS.into_iter().filter(|path| self.content_at(path).is_some()).collect();
                let from = match there.len() {
                    0 => path,
                    count => there[self.random.random_range(0..count)],
                };
                let to = PATHS[self.random.random_range(0..PATHS.len())];
                self.move_file(from, to);
            }
            6..=9 => {
                let [from, to] = FOLDERS[self.random.random_range(0..FOLDERS.len())];
                if self.is_folder(to) {
                    self.remove_folder(to);
                } else {
                    self.move_folder(from, to);
                }
            }
            10 => self.remove_folder("x/y"),
            _ => {
                let (files, user) = (self.server().files.clone(), self.server().user.clone());
                // Refused where a file has the name, or too few nodes are up.
                let _ = files.make_folder(&user, &folder("x/y"), true);
            }
        }
    }

    /// What the server has at a path just now.
    fn content_at(&mut self, path: &str) -> Content {
        let (files, user) = (self.server().files.clone(), self.server().user.clone());
        match files.look(&user, &folder(path)) {
            Ok(Entry::File(found)) => Some(self.contents[&found.blake3].clone()),
            _ => None,
        }
    }

    fn is_folder(&mut self, path: &str) -> bool {
        let (files, user) = (self.server().files.clone(), self.server().user.clone());
        matches!(files.look(&user, &folder(path)), Ok(Entry::Folder(_)))
    }

    /// Makes a change of several paths. What it comes to is remembered path by path.
    fn change<T>(
        &mut self,
        becomes: &Becomes,
        is_move: bool,
        change: impl FnOnce(&mut World) -> Result<T>,
    ) -> Result<T> {
        self.order += 1;
        let order = self.order;
        for (path, content) in becomes {
            if content.is_some() {
                self.known.entry(path).or_default().stores.push((order, content.clone()));
            }
            self.in_flight.push((path, order, content.clone()));
        }
        let done = change(self);
        self.in_flight.retain(|(_, own, _)| *own != order);
        for (path, content) in becomes {
            let known = self.known.entry(path).or_default();
            match &done {
                Ok(_) => {
                    known.answered(order, content.clone());
                    known.is_moved = is_move && content.is_none();
                }
                Err(Error::Unconfirmed { .. } | Error::UnconfirmedMove(_)) => {
                    known.open.push((order, content.clone()));
                }
                Err(_) => {}
            }
        }
        self.answered += u64::from(done.is_ok());
        self.moved += u64::from(done.is_ok() && is_move);
        done
    }

    /// Moves a file, over one that is there.
    pub(crate) fn move_file(&mut self, from: &'static str, to: &'static str) {
        let content = self.content_at(from);
        let is_there = content.is_some();
        let becomes =
            if is_there && from != to { vec![(from, None), (to, content)] } else { Vec::new() };
        self.follow_broken(from, to);
        let moved = self.change(&becomes, true, |world| {
            let (files, user) = (world.server().files.clone(), world.server().user.clone());
            files.move_to(&user, &file(from), &folder(to), true)
        });
        assert!(moved.is_err() || (is_there && from != to), "{from} to {to}: {moved:?}");
    }

    /// What a recovery has said cannot be read is no better under another name.
    fn follow_broken(&mut self, from: &'static str, to: &'static str) {
        if self.broken.contains(from) {
            self.broken.insert(to);
        }
    }

    /// Moves a folder to a name that nothing has.
    pub(crate) fn move_folder(&mut self, from: &'static str, to: &'static str) {
        let mut becomes = Becomes::new();
        for path in PATHS {
            if let Some(rest) = path.strip_prefix(from).filter(|rest| rest.starts_with('/'))
                && let Some(content) = self.content_at(path)
            {
                let new = watched(&format!("{to}{rest}")).unwrap();
                becomes.extend([(path, None), (new, Some(content))]);
                self.follow_broken(path, new);
            }
        }
        let files_in_it = becomes.len() as u64 / 2;
        let moved = self.change(&becomes, true, |world| {
            let (files, user) = (world.server().files.clone(), world.server().user.clone());
            files.move_to(&user, &file(from), &folder(to), false)
        });
        if let Ok(moved) = moved {
            assert_eq!((moved.to.as_str(), moved.files), (to, files_in_it));
        }
    }

    /// Removes a folder with all that is in it.
    pub(crate) fn remove_folder(&mut self, path: &'static str) {
        let mut becomes = Becomes::new();
        for inner in PATHS {
            let is_inside = inner.strip_prefix(path).is_some_and(|rest| rest.starts_with('/'));
            if is_inside && self.content_at(inner).is_some() {
                becomes.push((inner, None));
            }
        }
        // Refused where there is none, or too few nodes are up.
        let _ = self.change(&becomes, false, |world| {
            let (files, user) = (world.server().files.clone(), world.server().user.clone());
            files.remove_folder(&user, &folder(path), true)
        });
    }

    /// The server's disk is lost, whether the server is running or not; these nodes are at hand.
    pub(crate) fn lose_server(&mut self, at_hand: &[usize]) {
        self.server = None;
        for which in 0..4 {
            self.nodes[which].notice_crash();
            self.nodes[which].machine().disk.behave();
            self.mend(which);
        }
        let ids = palk::core::types::NodeId::ALL;
        self.lost = Some(at_hand.iter().map(|which| ids[*which]).collect::<NodeSet>());
    }

    /// Is this in exactly one of two places? For moves that were broken off.
    pub(crate) fn assert_in_one_of(&mut self, content: &[u8], places: [&str; 2]) {
        let found: Vec<Content> = places.iter().map(|path| self.content_at(path)).collect();
        let is_it = |found: &&Content| found.as_deref() == Some(&content.to_vec());
        assert_eq!(found.iter().filter(is_it).count(), 1, "{places:?}: {:?}", lengths(&found));
    }
}

fn lengths(found: &[Content]) -> Vec<Option<usize>> {
    found.iter().map(|content| content.as_ref().map(|bytes: &Arc<Vec<u8>>| bytes.len())).collect()
}

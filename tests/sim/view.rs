//! The names of users' files in nodes' folders, as they must be in the end.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use palk::core::catalog::FileRecord;
use palk::core::path::{UserName, block_file_name};
use palk::core::types::NodeId;
use palk::core::wire::trailer::{FOOTER_BYTES, Footer};

use super::disk::ROOT;
use super::server::USERS;
use super::state::{Item, Trees};
use super::users::file;
use super::whole::piece_at;
use super::world::World;

/// A file that no Palk has put there; it stays.
pub(crate) const FOREIGN: &str = "/files/demo/notes";

/// A node that has just checked its view rests longer and longer before it does so again: so many times as
/// many steps are enough for all of its pauses.
const RESTS: u32 = 10;
const REST_STEPS: u32 = 1000;

/// Names, and the contents that they lead to.
type Names = BTreeMap<PathBuf, Option<usize>>;

impl World {
    /// Exactly the names of what there is are in a node's view, each leading to the right piece.
    pub(crate) fn check_view(&mut self, id: NodeId, shown: &Trees) {
        let (mut found, mut expected) = self.views(id, shown);
        for _ in 0..RESTS {
            if found != expected {
                self.nodes[id.index()].work_on(REST_STEPS);
                (found, expected) = self.views(id, shown);
            }
        }
        if found != expected {
            let files = self.nodes[id.index()].disk().files();
            for (path, _) in found.iter().filter(|(path, _)| !expected.contains_key(*path)) {
                let bytes = files.get(path).cloned().unwrap_or_default();
                eprintln!(
                    "{path:?}: {} bytes, {:?}, rotten {:?}",
                    bytes.len(),
                    bytes.last_chunk::<32>(),
                    self.rotten
                );
            }
            self.print_journal();
        }
        assert_eq!(found, expected, "the view on node {id}");
    }

    /// The names that are in a node's view, and those that should be.
    fn views(&self, id: NodeId, shown: &Trees) -> (Names, Names) {
        let catalog = &self.servers[self.at].cluster.catalog;
        let account = |user: &str| catalog.account(&UserName::parse(user).unwrap()).unwrap();
        let current = |user: &str, path: &str| -> FileRecord {
            catalog.file(account(user).id, &file(path)).unwrap()
        };
        let disk = self.nodes[id.index()].disk();
        let names = disk.names();
        let mut view = Names::new();
        for user in USERS {
            let top = Path::new(ROOT).join(user);
            for (path, item) in &shown[user] {
                match item {
                    Item::Folder => {
                        view.insert(top.join(path), None);
                    }
                    Item::File { .. } => {
                        let record = current(user, path);
                        // What is joined of extents has no pieces of its own.
                        let blocks = names_in_view(id, &top, path).into_iter();
                        for (name, block) in blocks.filter(|_| !record.joined) {
                            let content = names[&piece_at(record.version, block)];
                            // A folder that is called so has the name.
                            view.entry(name).or_insert(content);
                        }
                    }
                }
            }
            view.insert(top, None);
        }
        // What has rotted at its end is nobody's for the view: it stays where no block should be.
        let files = disk.files();
        let is_rotten = |path: &Path| {
            let bytes = files.get(path).filter(|_| self.rotten == Some(id.index()));
            bytes.is_some_and(|bytes| {
                let footer = bytes.last_chunk::<FOOTER_BYTES>();
                footer.is_none_or(|footer| Footer::decode(footer).is_err())
            })
        };
        let collides = |path: &Path| path.ancestors().any(|above| is_both(id, shown, above));
        view.retain(|path, _| !collides(path));
        let found = names
            .into_iter()
            .filter(|(path, _)| {
                let rest = path.strip_prefix(ROOT).ok();
                rest.and_then(|rest| rest.iter().next())
                    .is_some_and(|first| first != ".palk" && first != "backup")
            })
            .filter(|(path, _)| path != Path::new(FOREIGN) && !collides(path))
            .filter(|(path, _)| view.contains_key(path) || !is_rotten(path))
            .collect();
        (found, view)
    }
}

/// Is this the name of a folder and of a file's block?
fn is_both(id: NodeId, shown: &Trees, name: &Path) -> bool {
    USERS.iter().any(|user| {
        let top = Path::new(ROOT).join(user);
        let mut items = shown[user].iter();
        shown[user].iter().any(|(path, item)| *item == Item::Folder && top.join(path) == name)
            && items.any(|(path, item)| {
                *item != Item::Folder
                    && names_in_view(id, &top, path).iter().any(|(own, _)| own == name)
            })
    })
}

/// What the blocks of a file are called in a node's view, and which blocks they are.
fn names_in_view(id: NodeId, top: &Path, path: &str) -> [(PathBuf, &'static str); 2] {
    let path = file(path);
    id.blocks().map(|block| {
        let name = block_file_name(path.name(), block);
        (top.join(path.folder().as_str()).join(name), block.name())
    })
}

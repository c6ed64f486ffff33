//! A catalog with a user, for the tests of this room.

use crate::core::catalog::accounts::HashGate;
use crate::core::catalog::{Catalog, NewFile, UserId};
use crate::core::path::{FilePath, UserName};
use crate::core::types::{ClusterId, Digest, NodeId, NodeSet, Precondition, Seq, VersionId};
use crate::core::wire::node::Place;

pub(super) struct Fixture {
    _folder: tempfile::TempDir,
    pub(super) catalog: Catalog,
    pub(super) user: UserId,
}

pub(super) fn fixture() -> Fixture {
    let folder = tempfile::tempdir().unwrap();
    let catalog = Catalog::open(&folder.path().join("palk.db"), ClusterId([1; 16])).unwrap();
    let demo = UserName::parse("demo").unwrap();
    let user = catalog.create_user(&HashGate::default(), &demo, "pw", 0).unwrap();
    catalog.remember_node_addresses(&["a:1", "b:2", "c:3", "d:4"].map(str::to_owned)).unwrap();
    Fixture { _folder: folder, catalog, user }
}

pub(super) fn place(path: &str) -> Place {
    let path = FilePath::parse_rooted(path).unwrap();
    Place { user: UserName::parse("demo").unwrap(), path }
}

impl Fixture {
    pub(super) fn store(&self, path: &str, version: u8) -> Seq {
        let ticket = self.catalog.begin_store(VersionId([version; 16])).unwrap();
        let new = NewFile {
            user: self.user,
            path: place(path).path,
            bytes: 353,
            blake3: Digest([7; 32]),
            stored_ms: 5,
            staged: NodeSet::ALL,
            precondition: Precondition::Any,
            stored_by: String::new(),
        };
        self.catalog.commit_store(&ticket, &new).unwrap();
        ticket.seq
    }

    /// Everything that is owed has been done.
    pub(super) fn settle(&self) {
        for node in NodeId::ALL {
            let owed = self.catalog.owed(node, false, 0, 1000).unwrap();
            let ids: Vec<i64> = owed.iter().map(|owed| owed.id).collect();
            self.catalog.settle(&ids);
        }
        self.catalog.strike_settled().unwrap();
    }
}

//! A node's `node.toml`, as a disk may hold it: a folder opens only as the node that it says.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use palk::core::node::rescue::Folders;
use palk::core::node::store::BlockStore;
use palk::core::types::NodeId;

use super::memory::MemoryDisk;

const ROOT: &str = "/node";

pub(crate) fn run(data: &[u8]) {
    let disk = MemoryDisk::new(&[], &[ROOT]);
    disk.put(ROOT, &[".palk", "node.toml"], data);
    let opens =
        |id: &NodeId| BlockStore::open(Arc::new(disk.clone()), Path::new(ROOT), *id).is_ok();
    let folders = Folders::open(Arc::new(disk.clone()), &[PathBuf::from(ROOT)]);
    let opened: Vec<NodeId> = NodeId::ALL.into_iter().filter(opens).collect();
    let told: Vec<NodeId> =
        folders.into_iter().flat_map(|f| f.nodes().iter().collect::<Vec<_>>()).collect();
    assert_eq!(opened, told, "a node and a rescue read the same file differently");
    assert!(opened.len() <= 1);
}

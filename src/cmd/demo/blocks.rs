//! The block files on the nodes, as anybody can look at them.

use std::fs;
use std::path::{Path, PathBuf};

use super::cluster::Cluster;
use crate::cmd::status::grouped;
use crate::core::code::layout::Layout;
use crate::core::path::{FilePath, UserName, block_file_name, printable};
use crate::core::types::{Block, NodeId};

/// Where the blocks of a stored file are.
pub(super) fn places(cluster: &Cluster, user: &UserName, path: &FilePath) -> [(Block, PathBuf); 8] {
    Block::ALL.map(|block| {
        let folder = cluster.node_folder(block.node()).join(user.as_str());
        let folder = folder.join(path.folder().as_str());
        (block, folder.join(block_file_name(path.name(), block)))
    })
}

/// Does a node have both its blocks?
pub(super) fn has_both(cluster: &Cluster, user: &UserName, path: &FilePath, node: NodeId) -> bool {
    let places = places(cluster, user, path);
    places.iter().filter(|(block, _)| block.node() == node).all(|(_, place)| place.exists())
}

/// The blocks of a file as a table.
pub(super) fn table(
    cluster: &Cluster,
    user: &UserName,
    path: &FilePath,
    file_bytes: u64,
) -> String {
    let plain = grouped(Layout::new(file_bytes).block_bytes());
    let rows: Vec<_> = places(cluster, user, path)
        .into_iter()
        .map(|(block, place)| {
            let shown = place.strip_prefix(cluster.folder()).unwrap_or(&place).to_string_lossy();
            let bytes = fs::metadata(&place).map_or(0, |metadata| metadata.len());
            (block, printable(&shown), grouped(bytes))
        })
        .collect();
    let width = rows.iter().map(|(_, shown, _)| shown.chars().count()).max().unwrap_or(0);
    let mut table = format!("  node  block  {:width$}  {:>13}  without trailer", "file", "bytes");
    for (block, shown, bytes) in rows {
        let (node, block) = (block.node().number(), block.name());
        table += &format!("\n  {node:>4}  {block:5}  {shown:width$}  {bytes:>13}  {plain:>15}");
    }
    table
}

/// How many block files a node has, and how large they are together.
pub(super) fn count(node_folder: &Path) -> (u64, u64) {
    let (mut files, mut bytes) = (0, 0);
    for entry in fs::read_dir(node_folder).into_iter().flatten().flatten() {
        if entry.file_name() == ".palk" || entry.file_name() == "backup" {
            continue;
        }
        let Ok(metadata) = entry.metadata() else { continue };
        if metadata.is_dir() {
            let (more_files, more_bytes) = count(&entry.path());
            (files, bytes) = (files + more_files, bytes + more_bytes);
        } else {
            (files, bytes) = (files + 1, bytes + metadata.len());
        }
    }
    (files, bytes)
}

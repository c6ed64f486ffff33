//! A node's store, told what to do by a server that may say anything: no file is touched outside of
//! the folders of the users that are named, and what has a final name is a whole block.

use std::path::Path;
use std::sync::Arc;

use palk::core::code::checksum;
use palk::core::code::layout::Layout;
use palk::core::node::store::BlockStore;
use palk::core::path::{UserName, parse_block_file_name};
use palk::core::types::{Digest, NodeId};
use palk::core::wire::node::{Order, PieceMeta, Request};
use palk::core::wire::trailer::MAGIC;

use super::bytes::Bytes;
use super::memory::MemoryDisk;
use super::node_frames::sealed;

const ROOT: &str = "/node";

/// Bytes of a file that are worth the time; what is longer is only begun.
const FILE_BYTES_MAX: u64 = 4096;

pub(crate) fn run(data: &[u8]) {
    let mut input = Bytes(data);
    let node = NodeId::ALL[usize::from(input.u8() % 4)];
    let Some(requests) = sealed::<Vec<Request>>(input.0) else { return };
    carry_out(node, &requests);
}

/// Does what is asked, on a disk that lets nobody out.
pub(crate) fn carry_out(node: NodeId, requests: &[Request]) {
    let disk = MemoryDisk::new(&[], &[ROOT]);
    let opened = BlockStore::open(Arc::new(disk.clone()), Path::new(ROOT), node);
    let store = opened.expect("an empty folder opens");
    let mut users: Vec<&UserName> = Vec::new();
    for request in requests {
        match request {
            Request::Stage(meta) => {
                let _ = stage(&store, meta);
            }
            Request::Carry { orders, .. } => {
                users.extend(orders.iter().filter_map(user));
                let outcomes = store.carry(orders);
                assert_eq!(outcomes.len(), orders.len());
            }
            Request::Read { version, place, formerly, first_stripe, select, .. } => {
                let mut piece = store.open_piece(*version, place, formerly);
                let _ = piece.units(*first_stripe, *select, &mut Vec::new());
            }
            Request::ListStaged { after } => {
                let staged = store.staged(*after, 16).expect("a disk without faults lists");
                assert!(staged.is_sorted());
            }
            _ => {}
        }
    }
    for path in disk.paths() {
        check(&disk, &path, &users);
    }
}

fn stage(store: &BlockStore, meta: &PieceMeta) -> palk::core::error::Result<()> {
    let mut stage = store.stage(meta.clone())?;
    if meta.file_bytes > FILE_BYTES_MAX {
        return Ok(());
    }
    let unit = vec![0; Layout::new(meta.file_bytes).unit_bytes(0)];
    stage.units([&unit, &unit], [checksum::unit(&unit); 2])?;
    stage.finish(Digest([0; 32]))
}

fn user(order: &Order) -> Option<&UserName> {
    match order {
        Order::MakeFolder { user, .. }
        | Order::MoveFile { user, .. }
        | Order::MoveFolder { user, .. }
        | Order::RemoveFolder { user, .. } => Some(user),
        Order::Commit { place, .. }
        | Order::Remove { place, .. }
        | Order::TakeBack { place, .. } => Some(&place.user),
        Order::Discard { .. } => None,
    }
}

fn check(disk: &MemoryDisk, path: &Path, users: &[&UserName]) {
    let inside = path.strip_prefix(ROOT).expect("the disk lets nobody out");
    let mut parts = inside.iter().map(|part| part.to_str().expect("names are text"));
    match parts.next() {
        Some(".palk") => {}
        Some("backup") => assert_eq!(parts.next(), None, "a user is in the backups"),
        top => {
            assert!(users.iter().any(|user| top == Some(user.as_str())), "{path:?} is nobody's");
            if !disk.is_folder(path) {
                let name = parts.next_back().and_then(parse_block_file_name);
                assert!(name.is_some(), "{path:?} is not called like a block");
                assert!(disk.bytes(path).ends_with(&MAGIC), "{path:?} is no whole block");
            }
        }
    }
}

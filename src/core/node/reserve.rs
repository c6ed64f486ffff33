//! Room that a node keeps free: new files leave it alone, so that a full disk can still repair,
//! commit and delete.
//!
//! ```text
//!   |<------------------------- total ------------------------->|
//!   |  used            | free                                   |
//!   |                  | to come  |  spare         | reserve    |
//!   |                  | of pieces|  for new       |            |
//!   |                  | under way|  pieces        |            |
//! ```
//!
//! Pure: the figures of the disk in, an answer out.

use crate::core::error::NodeFailure;
use crate::core::io::disk::Space;
use crate::core::wire::node::Room;

/// The default reserve of a large disk.
const USUAL_BYTES_MAX: u64 = 256 << 20;

/// On a small disk the default is one part in this many.
const USUAL_PART: u64 = 20;

/// Why no piece fits on a disk that takes no more files; follows "no space left on its disk".
const NO_INODES: &str = ": it has no inodes left";

/// A piece is two files.
const PIECE_FILES: u64 = 2;

/// Files that new pieces leave over, for repairs, the journal and snapshots.
const RESERVED_FILES: u64 = 16;

/// Can the files of one more piece be made on a disk?
pub(super) fn has_files(space: Space, repair: bool) -> bool {
    let kept = if repair { 0 } else { RESERVED_FILES };
    space.free_files >= PIECE_FILES + kept
}

/// How much room new files leave free.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Reserve {
    /// 256 MiB, but at most 5 % of the disk.
    #[default]
    Usual,
    /// This many bytes.
    Bytes(u64),
}

impl Reserve {
    /// The reserve of a disk of this size, in bytes.
    pub fn bytes(self, total_bytes: u64) -> u64 {
        match self {
            Reserve::Usual => USUAL_BYTES_MAX.min(total_bytes / USUAL_PART),
            Reserve::Bytes(bytes) => bytes,
        }
    }

    /// What is left on a disk, less the bytes that are still to come of running stages.
    pub(super) fn room(self, space: Space, pledged_bytes: u64) -> Room {
        let Space { free_bytes, total_bytes, .. } = space;
        let kept = self.bytes(total_bytes).saturating_add(pledged_bytes);
        let spare_bytes = free_bytes.saturating_sub(kept);
        let spare_bytes = if has_files(space, false) { spare_bytes } else { 0 };
        Room { free_bytes, total_bytes, spare_bytes }
    }

    /// May a piece of this size be received now?
    ///
    /// # Errors
    /// [`NodeFailure::NoSpace`] with the figures if it may not.
    pub(super) fn admit(
        self,
        space: Space,
        pledged_bytes: u64,
        piece_bytes: u64,
        repair: bool,
    ) -> Result<(), NodeFailure> {
        if !has_files(space, repair) {
            return Err(NodeFailure::NoSpace(NO_INODES.into()));
        }
        let free = space.free_bytes;
        let kept = if repair { 0 } else { self.bytes(space.total_bytes) };
        let needed = piece_bytes.saturating_add(pledged_bytes).saturating_add(kept);
        if needed <= free {
            return Ok(());
        }
        let under_way = match pledged_bytes {
            0 => String::new(),
            bytes => format!(", {bytes} are promised to others"),
        };
        let reserve = if repair { String::new() } else { format!(", {kept} are kept in reserve") };
        Err(NodeFailure::NoSpace(format!(
            ": the piece needs {piece_bytes} bytes, {free} are free{under_way}{reserve}"
        )))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::Arc;

    use super::*;
    use crate::core::code::checksum;
    use crate::core::code::repair::Select;
    use crate::core::error::Error;
    use crate::core::node::fixture::{TestDisk, place, version};
    use crate::core::node::stage::Stage;
    use crate::core::node::store::BlockStore;
    use crate::core::types::{Digest, NodeId, Seq};
    use crate::core::wire::node::PieceMeta;

    const MIB: u64 = 1 << 20;

    fn space(free_bytes: u64, total_bytes: u64) -> Space {
        Space { free_bytes, total_bytes, free_files: 1000 }
    }

    #[test]
    fn the_usual_reserve_is_small_on_a_small_disk() {
        assert_eq!(Reserve::Usual.bytes(1 << 40), 256 * MIB);
        assert_eq!(Reserve::Usual.bytes(1000), 50);
        assert_eq!(Reserve::Bytes(0).bytes(1 << 40), 0);
    }

    #[test]
    fn new_pieces_leave_the_reserve_and_repairs_may_use_it() {
        let reserve = Reserve::Bytes(100);
        for (free, pledged, piece, repair, fits) in [
            (200, 0, 100, false, true),
            (200, 0, 101, false, false),
            (200, 50, 51, false, false),
            (200, 50, 50, false, true),
            (200, 0, 200, true, true),
            (200, 1, 200, true, false),
            (50, 0, 1, false, false),
            (50, 0, 50, true, true),
            (1000, 0, u64::MAX, true, false),
        ] {
            let admitted = reserve.admit(space(free, 1000), pledged, piece, repair);
            assert_eq!(admitted.is_ok(), fits, "{free} {pledged} {piece} {repair}");
            // What the server is told agrees with what the node does.
            if !repair {
                let room = reserve.room(space(free, 1000), pledged);
                assert_eq!(room.spare_bytes >= piece, fits, "{free} {pledged} {piece}");
            }
        }
    }

    #[test]
    fn a_refusal_names_the_figures() {
        let refused = Reserve::Bytes(100).admit(space(120, 1000), 7, 50, false).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "no space left on its disk: the piece needs 50 bytes, 120 are free, 7 are promised to \
             others, 100 are kept in reserve"
        );
        let refused = Reserve::Bytes(100).admit(space(20, 1000), 0, 50, true).unwrap_err();
        let text = "no space left on its disk: the piece needs 50 bytes, 20 are free";
        assert_eq!(refused.to_string(), text);
    }

    #[test]
    fn a_disk_without_inodes_takes_no_piece_however_many_bytes_are_free() {
        for (free_files, takes_new, takes_repair) in [
            (0, false, false),
            (1, false, false),
            (2, false, true),
            (17, false, true),
            (18, true, true),
        ] {
            let space = Space { free_files, ..space(500, 1000) };
            let admits = |repair| Reserve::Bytes(0).admit(space, 0, 50, repair);
            assert_eq!(admits(false).is_ok(), takes_new, "{free_files}");
            assert_eq!(admits(true).is_ok(), takes_repair, "{free_files}");
            let room = Reserve::Bytes(0).room(space, 0);
            assert_eq!((room.free_bytes, room.spare_bytes > 0), (500, takes_new), "{free_files}");
            if let Err(why) = admits(false) {
                assert_eq!(why.to_string(), "no space left on its disk: it has no inodes left");
            }
        }
    }

    fn meta(n: u8, repair: bool) -> PieceMeta {
        PieceMeta {
            version: version(n),
            place: place("a"),
            file_bytes: 4 * 1000 - 4,
            stored_ms: 0,
            repair,
            part: None,
        }
    }

    /// Node 2 on a disk with so much room, of which 10,000 bytes are the reserve.
    fn node(free_bytes: u64) -> (tempfile::TempDir, TestDisk, BlockStore) {
        let folder = tempfile::tempdir().unwrap();
        let disk = TestDisk::default();
        disk.leave_free(free_bytes);
        let store =
            BlockStore::open(Arc::new(disk.clone()), folder.path(), NodeId::ALL[1]).unwrap();
        (folder, disk, store.keeping(Reserve::Bytes(10_000)))
    }

    fn take(stage: &mut Stage) {
        let unit = [7; 1000];
        stage.units([&unit, &unit], [checksum::unit(&unit); 2]).unwrap();
    }

    fn finish(stage: Stage) {
        stage.finish(Seq(1), Digest([1; 32])).unwrap();
    }

    fn is_full(result: crate::core::error::Result<Stage>) -> bool {
        matches!(result, Err(Error::Node { why: NodeFailure::NoSpace(_), .. }))
    }

    #[test]
    fn a_piece_takes_what_it_was_said_to_take() {
        let (folder, _, store) = node(100_000);
        let mut stage = store.stage(meta(1, false)).unwrap();
        take(&mut stage);
        finish(stage);
        let entries = fs::read_dir(folder.path().join(".palk/pieces/01")).unwrap();
        let bytes: u64 = entries.map(|entry| entry.unwrap().metadata().unwrap().len()).sum();
        let said = meta(1, false).piece_bytes();
        assert!((bytes..bytes + 512).contains(&said), "{said} for {bytes}");
    }

    #[test]
    fn a_full_disk_takes_repairs_and_all_else_but_no_new_pieces() {
        let (_folder, disk, store) = node(100_000);
        let mut stage = store.stage(meta(1, false)).unwrap();
        take(&mut stage);
        disk.leave_free(12_000);
        // What has begun goes on.
        finish(stage);
        assert!(is_full(store.stage(meta(2, false))));
        let mut repair = store.stage(meta(3, true)).unwrap();
        take(&mut repair);
        finish(repair);
        for n in [1, 3] {
            store.open_piece(version(n)).units(0, Select::Both, &mut Vec::new()).unwrap();
        }
        disk.leave_free(1000);
        assert!(is_full(store.stage(meta(4, true))), "no room at all");
        store.discard(&[version(3)]).unwrap();
        disk.leave_free(100_000);
        assert!(store.stage(meta(2, false)).is_ok(), "there is room again");
    }

    #[test]
    fn what_is_under_way_is_counted_until_it_has_come() {
        let piece_bytes = meta(1, false).piece_bytes();
        let (_folder, _, store) = node(10_000 + 2 * piece_bytes - 1);
        let spare = || store.room().unwrap().spare_bytes;
        assert_eq!(spare(), 2 * piece_bytes - 1);
        let mut first = store.stage(meta(1, false)).unwrap();
        assert_eq!(spare(), piece_bytes - 1);
        assert!(is_full(store.stage(meta(2, false))));
        take(&mut first);
        // What has come is the disk's to count; this one says that it is still free.
        assert_eq!(spare(), piece_bytes - 1 + 2000);
        drop(first);
        assert!(store.stage(meta(2, false)).is_ok());
    }
}

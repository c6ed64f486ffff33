//! Whether a node may lack pieces that the catalog places on it: see
//! [`JournalState::gap`](crate::core::wire::journal::JournalState::gap).
//!
//! `.palk/gap` holds one line, `open N` or `closed N` with a number of 20 digits. Every event has a
//! number of its own, so that a server cannot close what came up while it was comparing. A new folder
//! begins with a random one, so that it is never taken for another folder in whose place it was put.
//! The file is durable before what opened the gap is answered.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::core::io::disk::{Disk, read_whole, write_whole};
use crate::core::io::random::Random;

/// One short line.
const FILE_BYTES_MAX: u64 = 64;

/// The gap of one node's folder.
pub(super) struct Gap {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    state: Mutex<GapState>,
}

#[derive(Clone, Copy)]
struct GapState {
    /// The number of the last event.
    last: u64,
    is_open: bool,
}

impl Gap {
    /// Reads the file; where there is none, as in a new folder, a gap is opened.
    pub(super) fn open(disk: Arc<dyn Disk>, root: &Path) -> io::Result<Gap> {
        let path = root.join(".palk/gap");
        let (state, is_new) = match read_whole(&*disk, &path, FILE_BYTES_MAX) {
            Ok(Some(bytes)) => (parse(&bytes), false),
            Ok(None) => (None, true),
            Err(e) if e.kind() == io::ErrorKind::InvalidData => (None, false),
            Err(e) => return Err(e),
        };
        // A file that says nothing sensible is an open gap of another number than those before.
        let unknown = || GapState { last: Random::from_system().number(), is_open: true };
        let gap = Gap { disk, path, state: Mutex::new(state.unwrap_or_else(unknown)) };
        if is_new {
            gap.raise()?;
        }
        Ok(gap)
    }

    /// The number of the open gap.
    pub(super) fn current(&self) -> Option<u64> {
        let state = self.state.lock();
        state.is_open.then_some(state.last)
    }

    /// Opens a gap, or gives the open one a new number. Durable when this returns.
    pub(super) fn raise(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        *state = GapState { last: state.last.wrapping_add(1), is_open: true };
        self.write(*state)
    }

    /// Closes the gap if it still has this number.
    pub(super) fn close(&self, number: u64) -> io::Result<()> {
        let mut state = self.state.lock();
        let closed = GapState { last: state.last, is_open: false };
        if state.is_open && state.last == number {
            self.write(closed)?;
            *state = closed;
        }
        Ok(())
    }

    fn write(&self, state: GapState) -> io::Result<()> {
        let word = if state.is_open { "open" } else { "closed" };
        write_whole(&*self.disk, &self.path, format!("{word} {:020}\n", state.last).as_bytes())
    }
}

/// What the file says; `None` if that is nothing sensible.
fn parse(bytes: &[u8]) -> Option<GapState> {
    let (word, number) = std::str::from_utf8(bytes).ok()?.strip_suffix('\n')?.split_once(' ')?;
    let is_open = match word {
        "open" => true,
        "closed" => false,
        _ => return None,
    };
    Some(GapState { last: number.parse().ok()?, is_open })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::io::disk::RealDisk;
    use std::fs;

    fn open(root: &Path) -> Gap {
        Gap::open(Arc::new(RealDisk), root).unwrap()
    }

    #[test]
    fn a_gap_is_closed_only_by_its_number_and_numbers_only_grow() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(".palk")).unwrap();
        let gap = open(folder.path());
        let first = gap.current().unwrap();
        gap.raise().unwrap();
        gap.close(first).unwrap();
        assert_eq!(open(folder.path()).current(), Some(first + 1));
        gap.close(first + 1).unwrap();
        assert_eq!((gap.current(), open(folder.path()).current()), (None, None));
        let gap = open(folder.path());
        gap.raise().unwrap();
        assert_eq!(open(folder.path()).current(), Some(first + 2));
    }

    #[test]
    fn a_folder_in_the_place_of_another_has_other_numbers() {
        let [one, other] = [(); 2].map(|()| {
            let folder = tempfile::tempdir().unwrap();
            fs::create_dir(folder.path().join(".palk")).unwrap();
            open(folder.path()).current().unwrap()
        });
        assert!(one.abs_diff(other) > 1_000_000, "{one} and {other}");
    }

    #[test]
    fn a_damaged_file_is_an_open_gap_of_a_new_number() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(".palk")).unwrap();
        for bytes in ["", "closed", "closed x\n", "shut 3\n", &"9".repeat(100)] {
            fs::write(folder.path().join(".palk/gap"), bytes).unwrap();
            assert!(open(folder.path()).current().is_some_and(|number| number > 3), "{bytes:?}");
        }
    }
}

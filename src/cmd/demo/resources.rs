//! What a demo has that must not outlive it: processes, a folder, a profile.
//!
//! ```text
//!   $TMPDIR/palk-demo-1a2b3c4d/     mode 0700
//!     lock                          held as long as the demo runs
//!     keep                          there if nothing is to be removed
//!     password                      of user demo
//!     files_1 ... files_4, user_database, logs
//! ```
//!
//! Invariant: everything is in one value behind one lock, and it is registered there before it is
//! used. Ctrl-C is answered by another thread than the one that works (which may be blocked in a
//! read): that thread takes the lock, ends everything, and never gives the lock back. The lock is
//! only ever held for an instant otherwise.
//!
//! A demo that was killed leaves its folder; the next one removes it, which the lock tells from one
//! that is in use.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::child::Child;
use super::profile::Profile;
use crate::cmd::env::Env;
use crate::cmd::failure::Failure;
use crate::core::error::Code;
use crate::core::io::disk::FolderLock;
use crate::core::io::reason;
use crate::core::types::{NODE_COUNT, NodeId};

/// What the names of demos' folders begin with.
pub(super) const FOLDER_PREFIX: &str = "palk-demo-";

/// Everything that has to end with the demo. Clones share it.
#[derive(Clone)]
pub(super) struct Resources(Arc<Mutex<Inner>>);

/// What there is at the moment.
pub(super) struct Inner {
    pub(super) nodes: [Option<Child>; NODE_COUNT],
    pub(super) server: Option<Child>,
    /// The user's own command, of `--exec`.
    pub(super) command: Option<process::Child>,
    pub(super) profile: Option<Profile>,
    folder: PathBuf,
    lock: Option<FolderLock>,
    keep: bool,
}

/// Which process.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Who {
    Node(NodeId),
    Server,
}

impl std::fmt::Display for Who {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Who::Node(id) => write!(f, "node {id}"),
            Who::Server => write!(f, "the server"),
        }
    }
}

impl Resources {
    /// Makes the folder.
    ///
    /// # Errors
    /// [`Code::LocalFile`] if there is no room for one.
    pub(super) fn build(keep: bool) -> Result<Resources, Failure> {
        let above = std::env::temp_dir();
        sweep(&above);
        let (folder, lock) = make_folder(&above, keep).map_err(|error| {
            let text = format!("cannot make a folder in {}: {}", above.display(), reason(&error));
            Failure::new(Code::LocalFile, text).hint("TMPDIR names another place for it.")
        })?;
        Ok(Resources(Arc::new(Mutex::new(Inner {
            nodes: [const { None }; NODE_COUNT],
            server: None,
            command: None,
            profile: None,
            folder,
            lock: Some(lock),
            keep,
        }))))
    }

    /// Ends everything when the demo is interrupted.
    pub(super) fn end_on_interrupt(&self, env: &Env) {
        let resources = self.clone();
        env.interrupts().at_end(move || {
            let mut inner = resources.open();
            let farewell = inner.end();
            std::mem::forget(inner); // nobody works with them any more
            farewell
        });
        env.end_on_interrupt();
    }

    /// What there is, for an instant.
    pub(super) fn open(&self) -> MutexGuard<'_, Inner> {
        self.0.lock()
    }

    pub(super) fn folder(&self) -> PathBuf {
        self.open().folder.clone()
    }

    /// Nothing is to be removed at the end.
    pub(super) fn keep(&self) {
        let mut inner = self.open();
        inner.keep = true;
        // If it cannot be written the next demo removes the folder: no worse than a full disk is.
        let _ = fs::write(inner.folder.join("keep"), "");
    }

    /// Ends everything, and gives the line to say.
    pub(super) fn end(&self) -> String {
        self.open().end()
    }
}

impl Inner {
    /// The place of a process.
    pub(super) fn child(&mut self, who: Who) -> &mut Option<Child> {
        match who {
            Who::Node(id) => &mut self.nodes[id.index()],
            Who::Server => &mut self.server,
        }
    }

    /// Ends everything. A second time there is nothing left to end.
    fn end(&mut self) -> String {
        self.end_processes();
        let folder = self.folder.display();
        if self.keep {
            self.lock = None;
            return format!("Goodbye. All processes have ended; everything is kept in {folder}");
        }
        let mut left = Vec::new();
        if let Some(profile) = self.profile.take()
            && let Err(why) = profile.remove()
        {
            left.push(why);
        }
        if self.lock.take().is_some()
            && let Err(error) = fs::remove_dir_all(&self.folder)
        {
            left.push(format!("cannot remove {folder}: {}", reason(&error)));
        }
        if left.is_empty() {
            return "Goodbye. All processes have ended and the data is removed.".to_owned();
        }
        format!("Goodbye. All processes have ended, but: {}", left.join("; "))
    }

    fn end_processes(&mut self) {
        if let Some(mut command) = self.command.take() {
            // It may have ended, by the same Ctrl-C for instance.
            let _ = command.kill();
            let _ = command.wait();
        }
        // The server first: it would take nodes that end for nodes that fail.
        let children = self.server.iter_mut().chain(self.nodes.iter_mut().flatten());
        for child in children {
            if self.keep { child.finish() } else { child.kill() }
        }
        self.server = None;
        self.nodes = [const { None }; NODE_COUNT];
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.end();
    }
}

fn make_folder(above: &Path, keep: bool) -> io::Result<(PathBuf, FolderLock)> {
    let above = std::path::absolute(above)?;
    let folder = above.join(format!("{FOLDER_PREFIX}{:08x}", rand::random::<u32>()));
    let mut builder = fs::DirBuilder::new();
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(&folder)?;
    if keep {
        fs::write(folder.join("keep"), "")?;
    }
    let lock = FolderLock::take(&folder.join("lock"))?;
    let lock = lock.ok_or_else(|| io::Error::other("somebody else uses it"))?;
    fs::create_dir(folder.join("logs"))?;
    Ok((folder, lock))
}

/// Removes what demos left behind that were killed. Best effort: it is theirs, not this one's.
fn sweep(above: &Path) {
    for entry in fs::read_dir(above).into_iter().flatten().flatten() {
        let ours = entry.file_name().to_string_lossy().starts_with(FOLDER_PREFIX);
        // A link is no folder here, whatever it leads to.
        if ours && entry.file_type().is_ok_and(|kind| kind.is_dir()) && !is_in_use(&entry.path()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Does a demo run in this folder, or is it to be kept, or is it none at all?
fn is_in_use(folder: &Path) -> bool {
    let lock = folder.join("lock");
    if folder.join("keep").exists() || !lock.exists() {
        return true;
    }
    !matches!(FolderLock::take(&lock), Ok(Some(_)))
}

/// Does a demo run in this folder?
pub(super) fn is_running(folder: &Path) -> bool {
    let lock = folder.join("lock");
    lock.exists() && !matches!(FolderLock::take(&lock), Ok(Some(_)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_killed_demo_left_is_removed_and_nothing_else() {
        let above = tempfile::tempdir().unwrap();
        let (running, lock) = make_folder(above.path(), false).unwrap();
        let (kept, _) = make_folder(above.path(), true).unwrap();
        let (killed, _) = make_folder(above.path(), false).unwrap();
        let foreign = above.path().join("palk-demo-of-mine");
        fs::create_dir(&foreign).unwrap();
        assert!(is_running(&running) && !is_running(&kept) && !is_running(&foreign));
        sweep(above.path());
        assert!(running.exists() && kept.exists() && foreign.exists());
        assert!(!killed.exists());
        drop(lock);
        sweep(above.path());
        assert!(!running.exists());
    }
}

//! Ctrl-C (and being told to end): the first leaves nothing half-done, the second leaves at once.
//!
//! The main thread may be blocked in a read for many seconds, so it is not asked: a thread of its
//! own removes the temporary files that are registered here and ends the process. The server takes
//! the closed connection for what it is and drops what was not committed. A rename of a temporary
//! file and this removal exclude each other by the lock on the register.
//!
//! While the user is being asked something the terminal is in another mode, and the reader must put
//! it back. It sees Ctrl-C as a key; a signal from elsewhere is left to it for a moment too.
//!
//! Once it is decided that the program ends, the main thread prints nothing more: what fails now
//! fails because of that.

use std::fmt;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{self, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::thread;
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use crate::cmd::INTERRUPTED;

/// How long a reader at the terminal has to end by itself: less than what people notice.
const READER_GRACE: Duration = Duration::from_millis(70);

/// What an interruption has to clean up. Clones share it.
#[derive(Clone, Default, Debug)]
pub struct Interrupts(Arc<Inner>);

#[derive(Default, Debug)]
struct Inner {
    temporaries: Mutex<Vec<PathBuf>>,
    signals: AtomicUsize,
    asking: AtomicBool,
    answered: AtomicBool,
    json: AtomicBool,
    receiver: Mutex<Option<Sender<()>>>,
    ending: AtomicBool,
    resumable: AtomicBool,
    last: Mutex<Option<Last>>,
}

/// What is done at the end, giving the line to say.
struct Last(Box<dyn FnOnce() -> String + Send>);

impl fmt::Debug for Last {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Last")
    }
}

impl Interrupts {
    /// Begins to catch signals.
    pub(super) fn catch(&self) {
        let interrupts = self.clone();
        // Without a handler the system's own applies: the process ends, less tidily.
        let _ = ctrlc::set_handler(move || interrupts.signal());
    }

    /// An interruption is to be told as JSON.
    pub(super) fn tell_as_json(&self) {
        self.0.json.store(true, SeqCst);
    }

    /// From now on the first signal is delivered here, for a program that ends in an order of its
    /// own; the second still leaves at once.
    pub fn hand_over(&self) -> Receiver<()> {
        let (sender, receiver) = bounded(1);
        *self.0.receiver.lock() = Some(sender);
        self.catch();
        receiver
    }

    /// Has something done when the program is interrupted; what it gives is said.
    pub fn at_end(&self, last: impl FnOnce() -> String + Send + 'static) {
        *self.0.last.lock() = Some(Last(Box::new(last)));
    }

    /// Does not return if the program is ending.
    pub(super) fn hold_if_ending(&self) {
        while self.0.ending.load(SeqCst) {
            thread::park();
        }
    }

    /// Runs something that reads from the terminal and turns Ctrl-C into an answer of its own.
    pub(super) fn while_asking<T>(&self, ask: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.0.asking.store(true, SeqCst);
        let result = ask();
        if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {
            // The reader of passwords raises the signal as well; it has been dealt with.
            self.0.answered.store(true, SeqCst);
        }
        self.0.asking.store(false, SeqCst);
        result
    }

    /// Registers a file, or a folder that may stay if it is not empty, which is to be removed unless
    /// it is kept. It need not exist yet.
    pub fn temporary(&self, path: PathBuf) -> Temporary {
        self.0.temporaries.lock().push(path.clone());
        Temporary { path, interrupts: self.clone() }
    }

    /// From now on an interruption says that the same command goes on where it was.
    pub fn note_resumable(&self) {
        self.0.resumable.store(true, SeqCst);
    }

    fn signal(&self) {
        if self.0.answered.swap(false, SeqCst) {
            return;
        }
        if self.0.signals.fetch_add(1, SeqCst) > 0 {
            process::exit(INTERRUPTED);
        }
        if let Some(receiver) = &*self.0.receiver.lock() {
            // Full or gone: the program is ending already.
            let _ = receiver.try_send(());
            return;
        }
        let interrupts = self.clone();
        // In a thread of its own, so that a second signal is seen even if a disk hangs here.
        thread::spawn(move || interrupts.end());
    }

    fn end(&self) {
        if self.0.asking.load(SeqCst) {
            thread::sleep(READER_GRACE);
            if !self.0.asking.load(SeqCst) {
                self.0.signals.store(0, SeqCst);
                return;
            }
            // Best effort: a terminal that stays odd is no reason to stay.
            let _ = Command::new("stty").arg("sane").stderr(Stdio::null()).status();
        }
        self.0.ending.store(true, SeqCst);
        let last = self.0.last.lock().take();
        let said = last.map(|last| (last.0)());
        let temporaries = self.0.temporaries.lock();
        temporaries.iter().rev().for_each(|path| remove_now(path)); // what is in a folder before it
        if self.0.json.load(SeqCst) {
            let line = r#"{"v":1,"type":"error","code":130,"message":"interrupted"}"#;
            let _ = writeln!(io::stdout(), "{line}");
        } else {
            let usual = match self.0.resumable.load(SeqCst) {
                true => "interrupted: the same command goes on where it was",
                false => "interrupted: nothing is left half-done",
            };
            let said = said.as_deref().unwrap_or(usual);
            let _ = writeln!(io::stderr(), "\n{said}");
        }
        // With the lock held: nothing new is registered any more.
        process::exit(INTERRUPTED)
    }
}

/// A file or folder that is removed when this is dropped or the program is interrupted, unless it is kept.
#[derive(Debug)]
pub struct Temporary {
    path: PathBuf,
    interrupts: Interrupts,
}

impl Temporary {
    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Gives it its name for good, replacing a file that is there.
    ///
    /// # Errors
    /// Those of the rename; the file is removed then.
    pub fn keep_as(self, place: &Path) -> io::Result<()> {
        let interrupts = self.interrupts.clone();
        let mut temporaries = interrupts.0.temporaries.lock();
        let renamed = fs::rename(&self.path, place);
        if renamed.is_ok() {
            temporaries.retain(|path| path != &self.path);
        }
        drop(temporaries); // before `self`, whose drop takes the lock
        renamed
    }

    /// Gives it its name for good, unless a file of that name is there.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`], and those of the system; the file is removed then.
    pub fn keep_as_new(self, place: &Path) -> io::Result<()> {
        match fs::hard_link(&self.path, place) {
            Ok(()) => Ok(()), // its other name goes with `self`
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(error),
            // A file system without links: the best that it can do.
            Err(_) if fs::symlink_metadata(place).is_ok() => {
                Err(io::ErrorKind::AlreadyExists.into())
            }
            Err(_) => self.keep_as(place),
        }
    }

    /// Another file in its place, which stays whatever ends the program.
    #[must_use]
    pub fn another_that_stays(&self, path: PathBuf) -> Temporary {
        Temporary { path, interrupts: self.interrupts.clone() }
    }

    /// Calls it something else, where it stays whatever ends the program.
    ///
    /// # Errors
    /// Those of the rename.
    pub fn stay_as(&mut self, place: PathBuf) -> io::Result<()> {
        let mut temporaries = self.interrupts.0.temporaries.lock();
        fs::rename(&self.path, &place)?;
        temporaries.retain(|path| path != &self.path);
        self.path = place;
        Ok(())
    }

    /// Keeps it as it is.
    pub fn keep(self) {
        self.interrupts.0.temporaries.lock().retain(|path| path != &self.path);
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        remove(&mut self.interrupts.0.temporaries.lock(), &self.path);
    }
}

/// Removes what is still registered; what was kept is not.
fn remove(temporaries: &mut Vec<PathBuf>, path: &Path) {
    if let Some(at) = temporaries.iter().position(|registered| registered == path) {
        temporaries.remove(at);
        remove_now(path);
    }
}

fn remove_now(path: &Path) {
    // It may never have been made, and a folder that others have put something into stays.
    let _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_file_is_kept_or_gone() {
        let folder = tempfile::tempdir().unwrap();
        let interrupts = Interrupts::default();
        let temporary = interrupts.temporary(folder.path().join("a"));
        fs::write(temporary.path(), "x").unwrap();
        drop(temporary);
        let temporary = interrupts.temporary(folder.path().join("b"));
        fs::write(temporary.path(), "x").unwrap();
        temporary.keep_as(&folder.path().join("c")).unwrap();
        let names: Vec<_> = fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(names.len(), 1);
        assert!(folder.path().join("c").exists());
        assert!(interrupts.0.temporaries.lock().is_empty());
    }
}

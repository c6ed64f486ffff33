//! The one writer, and groups of changes on it.
//!
//! ```text
//!   begin_group ── attempt ─ attempt ─ attempt ── commit        the entries are on three nodes
//!                     │ Err: rolled back,   └──── roll back     they never will be, or: dropped
//!                     │ with its entries
//! ```
//!
//! A group is one transaction that stays open until it is decided. The handle holds no lock, so the
//! thread that began it may wait for nodes; others who want to write see that it is open.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, ThreadId};
use std::time::Duration;

use parking_lot::MutexGuard;
use rusqlite::{Connection, TransactionBehavior};

use crate::core::catalog::database::{self, catalog_error, execute};
use crate::core::catalog::draft::Draft;
use crate::core::catalog::{Catalog, apply, journal};
use crate::core::code::coded::CodedStripe;
use crate::core::error::{Code, Error, Result};
use crate::core::wire::journal::{Entry, Point};

/// How long a write that belongs to no group waits for an open one to end.
const GROUP_WAIT: Duration = Duration::from_secs(2);

/// The writing connection.
pub(super) struct Writer {
    pub(super) connection: Connection,
    /// The thread that has begun the open group, if there is one.
    group_of: Option<ThreadId>,
    is_log_short: bool,
}

impl Writer {
    pub(super) fn new(connection: Connection) -> Writer {
        Writer { connection, group_of: None, is_log_short: false }
    }
}

/// An entry of an open group.
#[derive(Clone, Debug)]
pub struct Pending {
    /// The entry.
    pub entry: Entry,
    /// The pieces that travel with it.
    pub pieces: Option<Arc<CodedStripe>>,
}

/// An open group of changes. Dropped, it is rolled back.
pub struct Group {
    catalog: Arc<Catalog>,
    epoch: u64,
    end: Point,
    entries: Vec<Pending>,
    is_open: bool,
}

impl Catalog {
    /// Opens a group; its entries are of this epoch.
    ///
    /// # Errors
    /// [`Code::Temporary`] if another one is open and does not end.
    pub fn begin_group(self: &Arc<Self>, epoch: u64) -> Result<Group> {
        let mut writer = self.idle_writer()?;
        let end = journal::end(&writer.connection)?;
        begin(&writer.connection)?;
        writer.group_of = Some(thread::current().id());
        Ok(Group { catalog: self.clone(), epoch, end, entries: Vec::new(), is_open: true })
    }

    /// Makes the changes of entries that another server wrote, each of which follows the one before
    /// it and the first one [`Catalog::end`].
    ///
    /// # Errors
    /// [`Error::Damaged`] if one does not follow or cannot be read; or the catalog cannot be written.
    /// Those in front of it may have been applied.
    pub fn apply(&self, entries: &[Entry]) -> Result<()> {
        entries.chunks(1000).try_for_each(|chunk| {
            self.local(|connection| {
                let mut end = journal::end(connection)?;
                for entry in chunk {
                    if !entry.follows(end) {
                        let what = format!("entry {} of the journal does not follow", entry.id);
                        return Err(Error::Damaged(what));
                    }
                    apply::entry(connection, entry)?;
                    end = entry.point();
                }
                Ok(())
            })
        })
    }

    /// Writes rows that no journal has, in a transaction of its own.
    pub(super) fn local<T>(&self, what: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let mut writer = self.idle_writer()?;
        let transaction = writer
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(catalog_error)?;
        let done = what(&transaction)?;
        self.commit(&transaction)?;
        Ok(done)
    }

    /// The writer, while no group is open on it.
    pub(super) fn idle_writer(&self) -> Result<MutexGuard<'_, Writer>> {
        let mut writer = self.writer.lock();
        // Who has begun the group itself would wait for what only it can end.
        let wait = match writer.group_of {
            Some(own) if own == thread::current().id() => Duration::ZERO,
            _ => GROUP_WAIT,
        };
        let is_open = |writer: &mut Writer| writer.group_of.is_some();
        if self.group_ended.wait_while_for(&mut writer, is_open, wait).timed_out() {
            let text = "an earlier change waits for more nodes, try again";
            return Err(Error::other(Code::Temporary, text));
        }
        self.refuse_in_doubt()?;
        self.see_to_room(&mut writer);
        Ok(writer)
    }

    /// Gives up the reserve where the disk is full, and keeps the write-ahead log short as long as that
    /// is all the room there is.
    fn see_to_room(&self, writer: &mut Writer) {
        let Some(reserve) = &self.reserve else { return };
        reserve.give_up_if_needed();
        let is_short = reserve.is_given_up();
        if is_short != writer.is_log_short {
            database::keep_log_short(&writer.connection, is_short);
            writer.is_log_short = is_short;
        }
    }

    /// Commits, or refuses to if an earlier commit is in doubt.
    ///
    /// When the disk fails during a commit, nobody knows whether it happened until the file is
    /// opened again. Going on could write entries after ones that are not there, so from then on
    /// nothing is written.
    ///
    /// A disk that is full is no such failure: SQLite says so before the transaction's last frame
    /// is written, and it is rolled back here. It certainly did not happen, and the next one may.
    fn commit(&self, connection: &Connection) -> Result<()> {
        self.refuse_in_doubt()?;
        #[cfg(test)]
        if self.commits_find_no_room.load(Ordering::SeqCst) {
            roll_back(connection);
            return Err(database::no_space());
        }
        if let Err(error) = execute(connection, "COMMIT", []) {
            let is_undone = error.code() == Code::NoSpace && roll_back(connection);
            if !is_undone {
                self.in_doubt.store(true, Ordering::SeqCst);
            }
            return Err(error);
        }
        Ok(())
    }

    /// Did a commit fail in a way that leaves open whether it happened? Then nothing is written any
    /// more until the server is started again.
    pub fn is_in_doubt(&self) -> bool {
        self.in_doubt.load(Ordering::SeqCst)
    }

    /// Refuses what would change something while [`Catalog::is_in_doubt`].
    ///
    /// # Errors
    /// [`Error::Catalog`].
    pub fn refuse_in_doubt(&self) -> Result<()> {
        if self.is_in_doubt() {
            let what = "an earlier write failed half-way; nothing is changed until the server is \
                        started again";
            return Err(Error::Catalog(what.into()));
        }
        Ok(())
    }
}

/// A part of a transaction that is undone when this is dropped. Its statements are prepared once, unlike
/// those of the library's own savepoints.
struct Savepoint<'a>(Option<&'a Connection>);

impl<'a> Savepoint<'a> {
    fn begin(connection: &'a Connection) -> Result<Savepoint<'a>> {
        execute(connection, "SAVEPOINT job", [])?;
        Ok(Savepoint(Some(connection)))
    }

    fn keep(mut self) -> Result<()> {
        self.0.take().map_or(Ok(()), |connection| execute(connection, "RELEASE job", []).map(drop))
    }
}

impl Drop for Savepoint<'_> {
    fn drop(&mut self) {
        // It may be gone already with the whole transaction, where the disk is full.
        if let Some(connection) = self.0
            && execute(connection, "ROLLBACK TO job", []).is_ok()
        {
            let _ = execute(connection, "RELEASE job", []);
        }
    }
}

fn begin(connection: &Connection) -> Result<()> {
    execute(connection, "BEGIN IMMEDIATE", []).map(drop)
}

/// False if the transaction may be there still.
fn roll_back(connection: &Connection) -> bool {
    connection.is_autocommit() || connection.execute_batch("ROLLBACK").is_ok()
}

impl Group {
    /// Does a job as a part of the group. If it fails, what it did is undone, and the group is as it
    /// was before.
    ///
    /// # Errors
    /// Those of the job; or the catalog cannot be written.
    pub fn attempt<T>(&mut self, job: impl FnOnce(&mut Draft<'_>) -> Result<T>) -> Result<T> {
        let catalog = self.catalog.clone();
        let writer = catalog.writer.lock();
        self.restore(&writer.connection)?;
        let savepoint = Savepoint::begin(&writer.connection)?;
        let now_us = (catalog.clock)();
        let before = self.end.id - self.entries.len() as u64;
        let reserve = catalog.reserve.as_ref();
        let mut draft =
            Draft::new(&writer.connection, reserve, self.epoch, now_us, before, self.end);
        let done = job(&mut draft)?;
        let recorded = draft.finish();
        if writer.connection.is_autocommit() {
            return Err(database::no_space());
        }
        savepoint.keep()?;
        self.end = recorded.last().map_or(self.end, |last| last.entry.point());
        self.entries.extend(recorded);
        Ok(done)
    }

    /// What the group adds to the journal. It may be nothing: some jobs only write what no journal
    /// has.
    pub fn entries(&self) -> &[Pending] {
        &self.entries
    }

    /// Is everything of it in the open transaction? To be asked before the entries are sent anywhere.
    ///
    /// # Errors
    /// The disk is full: none of it has happened.
    pub fn check(&mut self) -> Result<()> {
        let catalog = self.catalog.clone();
        let writer = catalog.writer.lock();
        self.restore(&writer.connection)
    }

    /// Makes the group a part of the catalog.
    ///
    /// # Errors
    /// If it cannot be written: because the disk is full, and then the catalog is as it was before and
    /// [`Catalog::apply`] can make the same changes later; otherwise the catalog is in doubt.
    pub fn commit(mut self) -> Result<()> {
        let catalog = self.catalog.clone();
        let mut writer = catalog.writer.lock();
        let done = self.restore(&writer.connection);
        let done = done.and_then(|()| catalog.commit(&writer.connection));
        self.close(&mut writer);
        done
    }

    /// Undoes all of it.
    pub fn roll_back(self) {}

    /// A full disk may have SQLite roll everything back in the middle of a group. What the jobs came
    /// to is in the entries, so it can be made again.
    fn restore(&self, connection: &Connection) -> Result<()> {
        if !connection.is_autocommit() {
            return Ok(());
        }
        begin(connection)?;
        let again = self.entries.iter().try_for_each(|own| apply::entry(connection, &own.entry));
        if again.is_err() {
            roll_back(connection);
        }
        again
    }

    fn close(&mut self, writer: &mut Writer) {
        self.is_open = false;
        if !roll_back(&writer.connection) {
            self.catalog.in_doubt.store(true, Ordering::SeqCst);
        }
        writer.group_of = None;
        self.catalog.group_ended.notify_all();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        if self.is_open {
            let catalog = self.catalog.clone();
            self.close(&mut catalog.writer.lock());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::catalog::fixture::{fixture, folder, journal, name, new_file, v};
    use crate::core::wire::journal::Change;

    fn make(draft: &mut Draft<'_>, user: &str) -> Result<()> {
        draft.create_user(&name(user), "no password", 0).map(drop)
    }

    #[test]
    fn a_group_is_seen_by_others_only_when_it_is_committed() {
        let f = fixture();
        let before = f.catalog.end().unwrap();
        let mut group = f.catalog.begin_group(3).unwrap();
        group.attempt(|draft| make(draft, "ann")).unwrap();
        let names = |catalog: &Catalog| catalog.users().unwrap().len();
        assert_eq!((names(&f.catalog), f.catalog.end().unwrap()), (1, before));
        let [pending] = group.entries() else { panic!("one entry") };
        assert!(pending.entry.follows(before) && pending.entry.epoch == 3);
        let end = pending.entry.point();
        group.commit().unwrap();
        assert_eq!((names(&f.catalog), f.catalog.end().unwrap()), (2, end));
    }

    #[test]
    fn a_job_that_fails_takes_only_its_own_entries_with_it() {
        let f = fixture();
        let mut group = f.catalog.begin_group(1).unwrap();
        group.attempt(|draft| make(draft, "ann")).unwrap();
        let failed = group.attempt(|draft| {
            make(draft, "bob")?;
            make(draft, "ann")
        });
        assert_eq!(failed.unwrap_err().code(), Code::UserExists);
        group.attempt(|draft| make(draft, "carl")).unwrap();
        assert_eq!(group.entries().len(), 2);
        group.check().unwrap();
        group.commit().unwrap();
        let names = f.catalog.users().unwrap();
        let names: Vec<&str> = names.iter().map(|user| user.name.as_str()).collect();
        assert_eq!(names, ["ann", "carl", "demo"]);
        let all = journal(&f.catalog);
        assert!(all.windows(2).all(|pair| pair[1].follows(pair[0].point())));
    }

    #[test]
    fn a_group_that_is_rolled_back_or_dropped_never_was() {
        let f = fixture();
        let before = (f.catalog.end().unwrap(), f.catalog.users().unwrap());
        for is_dropped in [false, true] {
            let mut group = f.catalog.begin_group(1).unwrap();
            group.attempt(|draft| make(draft, "ann")).unwrap();
            if is_dropped {
                drop(group)
            } else {
                group.roll_back()
            }
            assert_eq!((f.catalog.end().unwrap(), f.catalog.users().unwrap()), before);
        }
        f.change(|draft| make(draft, "ann")).unwrap();
    }

    #[test]
    fn a_job_that_panics_leaves_the_group_as_it_was() {
        let f = fixture();
        let mut group = f.catalog.begin_group(1).unwrap();
        group.attempt(|draft| make(draft, "ann")).unwrap();
        let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
            group.attempt(|draft| -> Result<()> {
                make(draft, "bob")?;
                panic!("in a job")
            })
        }));
        assert!(panicked.is_err());
        group.commit().unwrap();
        assert_eq!(f.catalog.users().unwrap().len(), 2);
    }

    #[test]
    fn what_no_journal_has_waits_for_an_open_group_but_not_for_long() {
        let f = fixture();
        let group = f.catalog.begin_group(1).unwrap();
        let refused = f.catalog.begin_scrub(false, 0, 0).unwrap_err();
        assert_eq!(refused.code(), Code::Temporary);
        assert_eq!(f.catalog.begin_group(1).err().map(|e| e.code()), Some(Code::Temporary));
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| f.catalog.begin_scrub(false, 0, 0));
            std::thread::sleep(Duration::from_millis(20));
            drop(group);
            waits.join().unwrap().unwrap();
        });
    }

    #[test]
    fn entries_that_do_not_follow_are_refused() {
        let (f, other) = (fixture(), fixture());
        f.change(|draft| make(draft, "ann")).unwrap();
        let entries = journal(&f.catalog);
        let end = other.catalog.end().unwrap();
        assert!(other.catalog.apply(&entries).is_err(), "from the beginning again");
        assert_eq!(other.catalog.end().unwrap(), end);
        let (new, mut foreign) = (&entries[2..], entries[2].clone());
        foreign.epoch += 1;
        assert!(other.catalog.apply(&[foreign]).is_err());
        other.catalog.apply(new).unwrap();
        assert_eq!(other.catalog.end().unwrap(), f.catalog.end().unwrap());
        let unreadable = Entry::after(f.catalog.end().unwrap(), 1, 0, vec![0xFF; 9]);
        assert_eq!(f.catalog.apply(&[unreadable]).unwrap_err().code(), Code::Damaged);
    }

    #[test]
    fn a_change_of_what_is_not_there_comes_to_nothing() {
        let f = fixture();
        f.store("a", 1);
        let (nobody, demo) = (name("nobody"), name("demo"));
        let path = |text: &str| crate::core::catalog::fixture::path(text);
        let before = (f.list(), f.catalog.users().unwrap());
        let moved = |from: &str, to: &str| Change::Moved {
            user: demo.clone(),
            from: path(from),
            to: path(to),
        };
        for change in [
            Change::UserRemoved { user: nobody.clone() },
            Change::FolderMade { user: nobody.clone(), folder: folder("x") },
            Change::FolderMade { user: demo.clone(), folder: folder("a/x") },
            Change::FolderRemoved { user: demo.clone(), folder: folder("x") },
            Change::FolderRemoved { user: demo.clone(), folder: folder("") },
            moved("x", "y"),
            moved("a", "x/y"),
            Change::Dropped { versions: vec![v(1), v(9)] },
        ] {
            f.change(|draft| draft.record(change.clone())).unwrap();
            assert_eq!((f.list(), f.catalog.users().unwrap()), before, "{change:?}");
        }
    }

    fn limit_pages(catalog: &Catalog, pages: i64) {
        let writer = catalog.writer.lock();
        let now = writer.connection.query_row("PRAGMA page_count", [], |row| row.get(0));
        let at_least: i64 = now.unwrap();
        writer.connection.pragma_update(None, "max_page_count", at_least.max(pages)).unwrap();
    }

    #[test]
    fn a_full_disk_refuses_and_leaves_nothing_in_doubt() {
        let f = fixture();
        limit_pages(&f.catalog, 0);
        // Long names fill pages soon.
        let store = |draft: &mut Draft<'_>, n: u8| {
            let at = format!("{}{n}", "n".repeat(200));
            draft.store(&new_file(f.user, &at, v(n)), None).map(drop)
        };
        let mut group = f.catalog.begin_group(1).unwrap();
        let refused = (1..200).find_map(|n| group.attempt(|draft| store(draft, n)).err());
        assert_eq!(refused.unwrap().code(), Code::NoSpace);
        let count = group.entries().len();
        assert!(count > 0);
        // Whether or not all of it was rolled back: what the group says is in it, is.
        group.check().unwrap();
        group.commit().unwrap();
        assert!(!f.catalog.is_in_doubt());
        assert_eq!(f.list().len(), count);
        limit_pages(&f.catalog, 1 << 20);
        f.change(|draft| store(draft, 201)).unwrap();
        assert_eq!(f.list().len(), count + 1);
    }

    #[test]
    fn what_a_full_disk_rolled_back_is_made_again_from_the_entries() {
        let f = fixture();
        let mut group = f.catalog.begin_group(1).unwrap();
        group.attempt(|draft| make(draft, "ann")).unwrap();
        f.catalog.writer.lock().connection.execute_batch("ROLLBACK").unwrap();
        group.attempt(|draft| make(draft, "bob")).unwrap();
        f.catalog.writer.lock().connection.execute_batch("ROLLBACK").unwrap();
        group.commit().unwrap();
        assert_eq!(f.catalog.users().unwrap().len(), 3);
        assert_eq!(journal(&f.catalog).len(), 4);
    }
}

//! Which versions are being read, so that the nodes do not replace one under its reader.
//!
//! A reader may have to change nodes half-way, so all pieces of the version it reads must stay where
//! they are until it has ended. Orders about a newer state of the same path wait for that; they are
//! owed on disk meanwhile, and the newer version is served from staging.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::core::catalog::Relocated;
use crate::core::cluster::locate::Spot;
use crate::core::error::Result;
use crate::core::path::{FilePath, UserName};
use crate::core::types::{Seq, VersionId};
use crate::core::wire::node::Place;

/// The versions being read, by place.
#[derive(Default)]
pub struct Readers {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    /// By place and by the reader's own number.
    reading: HashMap<Place, BTreeMap<u64, Read>>,
    last: u64,
    /// Has an order been held back since a reader last ended?
    held_back: bool,
}

/// What somebody reads.
struct Read {
    version: VersionId,
    seq: Seq,
    spot: Spot,
}

/// While this lives, the version it stands for stays where it is, or where a move takes it.
pub struct Reader {
    readers: Arc<Readers>,
    number: u64,
    spot: Spot,
}

impl Readers {
    /// Looks up what is to be read and notes it, in one step: an order that is decided upon
    /// afterwards sees the reader, one that was decided upon before belongs to what is looked up.
    ///
    /// # Errors
    /// Those of the look-up.
    pub fn enter<T>(
        self: &Arc<Self>,
        place: &Place,
        look_up: impl FnOnce() -> Result<(T, VersionId, Seq)>,
    ) -> Result<(T, Reader)> {
        let mut table = self.table.lock();
        let (found, version, seq) = look_up()?;
        table.last += 1;
        let (number, spot) = (table.last, Spot::from(place.clone()));
        let read = Read { version, seq, spot: spot.clone() };
        table.reading.entry(place.clone()).or_default().insert(number, read);
        Ok((found, Reader { readers: self.clone(), number, spot }))
    }

    /// Moves something. Whoever reads a current version that is moved reads it where it is then: an
    /// order about what was there before does not wait for that reader, one about a newer state of
    /// the new place does. A version that has been replaced stays where it is.
    ///
    /// # Errors
    /// Those of `relocate`.
    pub fn relocate(
        &self,
        user: &UserName,
        relocate: impl FnOnce() -> Result<Relocated>,
        is_current: impl Fn(VersionId) -> bool,
    ) -> Result<Relocated> {
        let mut table = self.table.lock();
        let done = relocate()?;
        let moved: Vec<(Place, Place)> = table
            .reading
            .keys()
            .filter(|place| place.user == *user)
            .filter_map(|place| Some((place.clone(), moved(place, &done)?)))
            .collect();
        for (from, to) in moved {
            let all = table.reading.remove(&from).unwrap_or_default();
            for (number, mut read) in all {
                let is_current = is_current(read.version);
                if is_current {
                    read.seq = done.seq;
                    read.spot.set(to.clone());
                }
                let place = if is_current { &to } else { &from };
                table.reading.entry(place.clone()).or_default().insert(number, read);
            }
        }
        Ok(done)
    }

    /// Is any version of the file at this place being read?
    pub fn is_read(&self, place: &Place) -> bool {
        self.table.lock().reading.contains_key(place)
    }

    /// Must an order with this number wait for a reader of something older at its place?
    pub fn holds_back(&self, place: &Place, seq: Seq) -> bool {
        let mut table = self.table.lock();
        let mut reading = table.reading.get(place).into_iter().flat_map(BTreeMap::values);
        let waits = reading.any(|read| read.seq < seq);
        table.held_back |= waits;
        waits
    }
}

/// What a place is called after a move, if it is concerned.
fn moved(place: &Place, done: &Relocated) -> Option<Place> {
    let rest = place.path.as_str().strip_prefix(done.from.as_str())?;
    let is_concerned = rest.is_empty() || (done.is_folder && rest.starts_with('/'));
    let path = is_concerned.then(|| format!("{}{rest}", done.to.as_str()))?;
    Some(Place { user: place.user.clone(), path: FilePath::parse_rooted(&path).ok()? })
}

impl Reader {
    /// The name of what is read, which a move changes.
    pub fn spot(&self) -> Spot {
        self.spot.clone()
    }

    /// Ends the reading; true if an order may have waited for it.
    pub fn leave(self) -> bool {
        std::mem::take(&mut self.readers.table.lock().held_back)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut table = self.readers.table.lock();
        let place = self.spot.place();
        if let Some(reading) = table.reading.get_mut(&place) {
            reading.remove(&self.number);
            if reading.is_empty() {
                table.reading.remove(&place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_waits_for_readers_of_older_versions_only() {
        let readers = Arc::new(Readers::default());
        let place = Place {
            user: UserName::parse("demo").unwrap(),
            path: FilePath::parse_rooted("a").unwrap(),
        };
        let ((), reader) = readers.enter(&place, || Ok(((), VersionId([1; 16]), Seq(5)))).unwrap();
        let ((), other) = readers.enter(&place, || Ok(((), VersionId([1; 16]), Seq(5)))).unwrap();
        assert!(!readers.holds_back(&place, Seq(5)), "its own commit");
        assert!(readers.holds_back(&place, Seq(6)));
        assert!(reader.leave(), "somebody waited");
        assert!(readers.holds_back(&place, Seq(6)), "the other still reads");
        assert!(other.leave());
        assert!(!readers.holds_back(&place, Seq(6)));
        assert!(readers.table.lock().reading.is_empty());
    }

    #[test]
    fn whoever_reads_what_is_moved_is_found_at_its_new_place() {
        let readers = Arc::new(Readers::default());
        let user = UserName::parse("demo").unwrap();
        let place =
            |path: &str| Place { user: user.clone(), path: FilePath::parse_rooted(path).unwrap() };
        let (current, replaced) = (VersionId([2; 16]), VersionId([1; 16]));
        let enter = |version, seq| readers.enter(&place("x/a"), || Ok(((), version, Seq(seq))));
        let ((), old) = enter(replaced, 3).unwrap();
        let ((), new) = enter(current, 5).unwrap();
        let done = Relocated {
            from: place("x").path,
            to: place("y/x").path,
            is_folder: true,
            files: 1,
            replaced: false,
            seq: Seq(9),
            entry: 1,
        };
        readers.relocate(&user, || Ok(done), |version| version == current).unwrap();
        assert_eq!((old.spot().place(), new.spot().place()), (place("x/a"), place("y/x/a")));
        assert!(!readers.holds_back(&place("y/x/a"), Seq(9)), "its own move");
        assert!(readers.holds_back(&place("y/x/a"), Seq(10)));
        assert!(readers.holds_back(&place("x/a"), Seq(5)), "the commit of what was moved since");
        drop(old);
        drop(new);
        assert!(readers.table.lock().reading.is_empty());
    }
}

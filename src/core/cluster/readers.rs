//! Which versions are being read, so that the nodes do not replace one under its reader.
//!
//! A reader may have to change nodes half-way, so all pieces of the version it reads must stay where
//! they are until it has ended. Orders about a newer state of the same path wait for that; they are
//! owed on disk meanwhile, and the newer version is served from staging.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::core::error::Result;
use crate::core::types::Seq;
use crate::core::wire::node::Place;

/// The versions being read, by place.
#[derive(Default)]
pub struct Readers {
    table: Mutex<Table>,
}

#[derive(Default)]
struct Table {
    reading: HashMap<Place, BTreeMap<Seq, usize>>,
    /// Has an order been held back since a reader last ended?
    held_back: bool,
}

/// While this lives, the version it stands for stays where it is.
pub struct Reader {
    readers: Arc<Readers>,
    place: Place,
    seq: Seq,
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
        look_up: impl FnOnce() -> Result<(T, Seq)>,
    ) -> Result<(T, Reader)> {
        let mut table = self.table.lock();
        let (found, seq) = look_up()?;
        *table.reading.entry(place.clone()).or_default().entry(seq).or_default() += 1;
        Ok((found, Reader { readers: self.clone(), place: place.clone(), seq }))
    }

    /// Is any version of the file at this place being read?
    pub fn is_read(&self, place: &Place) -> bool {
        self.table.lock().reading.contains_key(place)
    }

    /// Must an order with this number wait for a reader of something older at its place?
    pub fn holds_back(&self, place: &Place, seq: Seq) -> bool {
        let mut table = self.table.lock();
        let oldest = table.reading.get(place).and_then(|seqs| seqs.keys().next());
        let waits = oldest.is_some_and(|oldest| *oldest < seq);
        table.held_back |= waits;
        waits
    }
}

impl Reader {
    /// Ends the reading; true if an order may have waited for it.
    pub fn leave(self) -> bool {
        std::mem::take(&mut self.readers.table.lock().held_back)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut table = self.readers.table.lock();
        if let Some(seqs) = table.reading.get_mut(&self.place) {
            if let Some(count) = seqs.get_mut(&self.seq) {
                *count -= 1;
                if *count == 0 {
                    seqs.remove(&self.seq);
                }
            }
            if seqs.is_empty() {
                table.reading.remove(&self.place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::path::{FilePath, UserName};

    #[test]
    fn an_order_waits_for_readers_of_older_versions_only() {
        let readers = Arc::new(Readers::default());
        let place = Place {
            user: UserName::parse("demo").unwrap(),
            path: FilePath::parse_rooted("a").unwrap(),
        };
        let ((), reader) = readers.enter(&place, || Ok(((), Seq(5)))).unwrap();
        let ((), other) = readers.enter(&place, || Ok(((), Seq(5)))).unwrap();
        assert!(!readers.holds_back(&place, Seq(5)), "its own commit");
        assert!(readers.holds_back(&place, Seq(6)));
        assert!(reader.leave(), "somebody waited");
        assert!(readers.holds_back(&place, Seq(6)), "the other still reads");
        assert!(other.leave());
        assert!(!readers.holds_back(&place, Seq(6)));
        assert!(readers.table.lock().reading.is_empty());
    }
}

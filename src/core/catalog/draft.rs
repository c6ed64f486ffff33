//! A job's part of a group: it looks at the catalog as the jobs before it left it, and records
//! changes. The jobs themselves are methods in the files of what they are about.

use std::sync::Arc;

use rusqlite::Connection;

use crate::core::catalog::group::Pending;
use crate::core::catalog::reserve::DiskReserve;
use crate::core::catalog::{apply, node_addresses, uncertain, versions};
use crate::core::code::coded::CodedStripe;
use crate::core::error::{Code, Error, Result};
use crate::core::types::{Moment, NODE_COUNT, ServerId, VersionId};
use crate::core::wire::journal::{Change, Entry, Point, TEXT_BYTES_MAX};

/// What a job works on.
pub struct Draft<'a> {
    pub(super) connection: &'a Connection,
    reserve: Option<&'a DiskReserve>,
    epoch: u64,
    /// In microseconds since 1970.
    now_us: i64,
    /// The last entry before the group.
    before: u64,
    end: Point,
    recorded: Vec<Pending>,
}

impl<'a> Draft<'a> {
    pub(super) fn new(
        connection: &'a Connection,
        reserve: Option<&'a DiskReserve>,
        epoch: u64,
        now_us: i64,
        before: u64,
        end: Point,
    ) -> Draft<'a> {
        Draft { connection, reserve, epoch, now_us, before, end, recorded: Vec::new() }
    }

    pub(super) fn finish(self) -> Vec<Pending> {
        self.recorded
    }

    /// Adds a change to the journal and makes it. Gives the number of its entry.
    ///
    /// # Errors
    /// If the change is beyond a limit or the catalog cannot be written; [`Code::NoSpace`] if it adds to
    /// the catalog and the disk is full.
    pub fn record(&mut self, change: Change) -> Result<u64> {
        self.add(&change, None)
    }

    /// The same for a version whose pieces travel with the entry.
    ///
    /// # Errors
    /// As [`Draft::record`].
    pub fn record_with(&mut self, change: Change, pieces: Arc<CodedStripe>) -> Result<u64> {
        self.add(&change, Some(pieces))
    }

    fn add(&mut self, change: &Change, pieces: Option<Arc<CodedStripe>>) -> Result<u64> {
        if change.adds() {
            self.reserve.map_or(Ok(()), DiskReserve::check)?;
        }
        let entry = Entry::after(self.end, self.epoch, self.now_us, change.encode()?);
        // From the record, as everybody else will: what cannot be read back is not written.
        apply::entry(self.connection, &entry)?;
        self.end = entry.point();
        self.recorded.push(Pending { entry, pieces });
        Ok(self.end.id)
    }

    /// May it turn out that this version cannot be read, and never was answered? Also one that comes with this
    /// very group may.
    pub(super) fn may_be_taken_back(&self, version: VersionId) -> Result<bool> {
        Ok(uncertain::is_uncertain(self.connection, version)?
            || versions::is_placed_after(self.connection, version, self.before)?)
    }

    /// The moment of the last entry.
    pub fn moment(&self) -> Moment {
        self.end.at
    }

    /// The first entries of an epoch: who leads, and where the nodes are.
    ///
    /// # Errors
    /// If the catalog cannot be written.
    pub fn lead(&mut self, server: ServerId) -> Result<()> {
        self.record(Change::Led { server })?;
        match node_addresses(self.connection)? {
            Some(addresses) => self.set_nodes(&addresses),
            None => Ok(()),
        }
    }

    /// Notes where the nodes are.
    ///
    /// # Errors
    /// [`Code::Usage`] if an address is too long; or the catalog cannot be written.
    pub fn set_nodes(&mut self, addresses: &[String; NODE_COUNT]) -> Result<()> {
        addresses.iter().try_for_each(|address| check_text("an address", address))?;
        self.record(Change::Nodes { addresses: addresses.clone() }).map(drop)
    }
}

/// Is this short enough for a record?
pub(super) fn check_text(what: &str, text: &str) -> Result<()> {
    if text.len() > TEXT_BYTES_MAX {
        let text = format!("{what} is at most {TEXT_BYTES_MAX} bytes long");
        return Err(Error::other(Code::Usage, text));
    }
    Ok(())
}

//! Who reads a version over many steps, whatever becomes of the file.

use std::collections::VecDeque;

use palk::core::catalog::ExtentRecord;
use palk::core::cluster::readers::Reader;
use palk::core::cluster::{Cluster, Reading, Wanted};
use palk::core::error::Result;
use palk::core::types::Digest;
use palk::core::wire::extents::Extent;
use palk::core::wire::node::Place;
use rand::RngExt;

use super::contents::digest;
use super::users::file;
use super::world::World;

pub(crate) struct SlowReader {
    pub(crate) user: &'static str,
    pub(crate) path: String,
    pub(crate) blake3: Digest,
    pub(crate) bytes: u64,
    pub(crate) is_joined: bool,
    place: Place,
    cluster: Cluster,
    reading: Reading,
    rest: VecDeque<ExtentRecord>,
    got: Vec<u8>,
    _reader: Reader,
}

fn read(cluster: &Cluster, label: &Place, record: ExtentRecord) -> Result<Reading> {
    let ExtentRecord { extent, version_bytes: file_bytes, placed } = record;
    let bytes = extent.start..extent.start + extent.bytes;
    let wanted = Wanted { version: extent.version, label, file_bytes, bytes, placed };
    cluster.volume.read(wanted).map_err(|(error, _)| error)
}

impl SlowReader {
    /// Reads on; true at the end.
    pub(crate) fn go_on(&mut self) -> Result<bool> {
        if let Some(parts) = self.reading.next_part()? {
            parts.iter().for_each(|part| self.got.extend_from_slice(part));
            return Ok(false);
        }
        if let Some(next) = self.rest.pop_front() {
            self.reading = read(&self.cluster, &self.place, next)?;
            return Ok(false);
        }
        let (user, path) = (self.user, &self.path);
        let is_right = digest(&self.got) == self.blake3;
        assert!(is_right, "{user}/{path}: a slow reader has got something else");
        Ok(true)
    }

    /// Reads the rest of it.
    pub(crate) fn finish(mut self) -> Result<()> {
        while !self.go_on()? {}
        Ok(())
    }
}

impl World {
    /// Somebody begins to read slowly, or reads on.
    pub(crate) fn read_slowly(&mut self, user: &'static str, path: &str) {
        let (at, count) = (self.at, self.server().readers.len());
        if count < 3 && self.random.random_bool(0.6) {
            if let Some(reader) = self.begin_slowly(user, path) {
                self.server().readers.push(reader);
            }
            return;
        }
        if count > 0 {
            let which = self.random.random_range(0..count);
            let reader = &mut self.servers[at].readers[which];
            // One that has failed (too few nodes) gives up, as a client would.
            if reader.go_on().unwrap_or(true) {
                self.servers[at].readers.swap_remove(which);
                self.tally.read += 1;
            }
        }
    }

    pub(crate) fn begin_slowly(&mut self, user: &'static str, path: &str) -> Option<SlowReader> {
        let owner = self.user(user).ok()?;
        let cluster = self.server().cluster.clone();
        let id = cluster.catalog.account(&owner.name).ok()?.id;
        let at = file(path);
        let (record, reader) = cluster
            .readers
            .enter(|| {
                let record = cluster.catalog.file(id, &at)?;
                let version = record.version;
                Ok((record, version))
            })
            .ok()?;
        let (version, bytes, placed) = (record.version, record.bytes, record.placed);
        let whole = Extent { version, start: 0, bytes };
        let mut rest: VecDeque<ExtentRecord> = match record.joined {
            true => cluster.catalog.extents(version).unwrap().into(),
            false => [ExtentRecord { extent: whole, version_bytes: bytes, placed }].into(),
        };
        let place = Place { user: owner.name.clone(), path: at };
        let reading = read(&cluster, &place, rest.pop_front().unwrap()).ok()?;
        Some(SlowReader {
            user,
            path: path.to_owned(),
            blake3: record.blake3,
            bytes,
            is_joined: record.joined,
            place,
            cluster,
            reading,
            rest,
            got: Vec::new(),
            _reader: reader,
        })
    }
}

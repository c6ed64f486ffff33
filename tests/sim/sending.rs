//! Bytes of uploads on their way: extent after extent, until all have come or the client vanishes.

use std::ops::Range;

use palk::core::error::{Code, Error, Result};
use palk::core::serve::store::{Store, Wanted};
use palk::core::types::{FileAttributes, Precondition, VersionId};

use super::change::What;
use super::contents::{Contents, Part, digest, part};
use super::model::Answer;
use super::server::EXTENT_BYTES;
use super::upload::{How, Label, uploads_of};
use super::users::{answer_of, file};
use super::world::World;

const MIB: usize = 1 << 20;

/// Some bytes of a part of an upload.
pub(crate) struct Sending<'a> {
    pub(crate) user: &'static str,
    pub(crate) label: Label,
    /// The file that is stored, and how long it is, where the upload begins with its first extent.
    pub(crate) begun: Option<(String, u64)>,
    pub(crate) number: u32,
    /// What the part is to be.
    pub(crate) content: &'a [u8],
    /// Which bytes of it are sent.
    pub(crate) span: Range<usize>,
    /// The client vanishes where that many of the part have come, if it does.
    pub(crate) stop: Option<usize>,
    pub(crate) depth: u32,
}

impl Sending<'_> {
    /// The extents that they make.
    fn extents(&self) -> Vec<Range<usize>> {
        let (mut all, mut at) = (Vec::new(), self.span.start);
        let [one, longer] = EXTENT_BYTES.map(|bytes| usize::try_from(bytes).unwrap());
        while at < self.span.end {
            let longest = if at == 0 && self.span.end <= one { one } else { longer };
            let end = self.span.end.min(at + longest);
            all.push(at..end);
            at = end;
        }
        all
    }

    /// The extents, also those that are shorter because the client vanishes, will be known by their digests.
    fn remember(&self, contents: &Contents) {
        for Range { start, end } in self.extents() {
            let shorter = (1..).map(|count| start + count * MIB).take_while(|at| *at < end);
            for end in shorter.chain([end]) {
                contents.remember(&self.content[start..end]);
            }
        }
    }

    /// So much of the part has come.
    fn come(&self, upto: usize) -> How {
        let (begun, part) = (self.begun.clone(), part(&self.content[..upto]));
        How::Come { begun, number: self.number, part }
    }
}

impl World {
    /// Makes changes of an upload that go to the nodes as one, and remembers what was answered.
    pub(crate) fn change_upload<T>(
        &mut self,
        user: &'static str,
        label: Label,
        hows: Vec<How>,
        change: impl FnOnce(&mut World) -> Result<T>,
    ) -> Result<T> {
        let (at_us, count) = (self.server().clock.now_us(), hows.len());
        let is_informed = self.is_settled(self.at) && count == 1;
        let id = self.begin_upload_changes(user, label, at_us, hows);
        let done = change(self);
        let is_over = self.model.may_be_over(label, self.site.clock.latest_us());
        let answer = match &done {
            // It is sent just now, or it is not whole on the nodes that are up.
            Err(Error::DamagedOnNodes { .. }) => Answer::Failed,
            Err(error) if error.code() == Code::Changed => Answer::Failed,
            _ => answer_of(&done, is_informed && !is_over),
        };
        self.model.end(id, &vec![answer; count]);
        self.count(&done, false);
        done
    }

    /// Sends bytes of an upload that is there; true if all have come, or all that is kept of them.
    pub(crate) fn send(&mut self, id: VersionId, sending: &Sending<'_>) -> bool {
        sending.remember(&self.site.contents);
        let files = self.server().files.clone();
        let bytes = sending.span.len() as u64;
        let begun = self.user(sending.user).and_then(|owner| match sending.number {
            0 => files.send(&owner, id, sending.span.start as u64, bytes),
            number => files.store_numbered(&owner, id, number, bytes),
        });
        let mut store = match begun {
            Ok(store) => store,
            Err(error) => {
                assert!(error.code() != Code::NoSuchFile, "its server has told of it: {error}");
                let done: Result<()> = Err(error);
                answer_of(&done, false);
                self.count(&done, false);
                return false;
            }
        };
        let is_only_server = self.servers.len() == 1;
        let done = self.fill(&mut store, sending);
        let done = done.and_then(|at| match sending.stop {
            Some(_) => self.keep_sent(store, sending, at),
            None => {
                let how = vec![sending.come(at)];
                self.change_upload(sending.user, sending.label, how, |_| store.finish_part())
            }
        });
        if let Err(error) = &done {
            let is_alone = is_only_server && self.servers.len() == 1;
            let is_dropped = error.code() == Code::NoSuchFile
                && is_alone
                && !self.given_up.contains(&sending.label);
            assert!(!is_dropped, "an upload was dropped while somebody sent it: {error}");
        }
        self.tally.parts += u64::from(done.is_ok());
        done.is_ok()
    }

    /// Stores a file of which what has come is kept if the client vanishes.
    pub(crate) fn store_kept(
        &mut self,
        user: &'static str,
        path: &str,
        content: Vec<u8>,
        stop: Option<usize>,
        depth: u32,
    ) -> bool {
        let label = self.new_label();
        let Part { blake3, bytes } = self.site.contents.remember(&content);
        let begun = Some((path.to_owned(), bytes));
        let span = 0..content.len();
        let sending =
            Sending { user, label, begun, number: 0, content: &content, span, stop, depth };
        sending.remember(&self.site.contents);
        self.intended.insert(label, content.clone().into());
        let (files, keep) = (self.server().files.clone(), Some(self.version()));
        let attributes = FileAttributes { modified_ms: Some(label), kind: None };
        let at = file(path);
        let precondition = Precondition::Any;
        let wanted = Wanted { path: &at, bytes, precondition, attributes, keep };
        let begun = self.user(user).and_then(|owner| files.store_wanted(&owner, &wanted));
        let what = What::Store { path: path.to_owned(), blake3, bytes };
        let mut store = match begun {
            Ok(store) => store,
            Err(error) => return self.change(user, what, |_| Err::<(), Error>(error)).is_ok(),
        };
        let done = self.fill(&mut store, &sending).and_then(|at| {
            if stop.is_some() {
                return self.keep_sent(store, &sending, at);
            }
            if sending.extents().len() < 2 {
                return self.change(user, what, |_| store.finish(blake3)).map(drop);
            }
            let whole = Part { blake3, bytes };
            let complete = How::Complete { parts: [(0, whole)].into(), whole };
            let hows = vec![sending.come(at), complete];
            self.tally.joined += 1;
            self.change_upload(user, label, hows, |_| store.finish(digest(&content))).map(drop)
        });
        done.is_ok()
    }

    /// Puts bytes into a store until all are in it or the client vanishes; gives how many of the part have
    /// come.
    fn fill(&mut self, store: &mut Store<'_>, sending: &Sending<'_>) -> Result<usize> {
        let (mut at, extents) = (sending.span.start, sending.extents());
        let stop = sending.stop.unwrap_or(sending.span.end);
        while at < sending.span.end {
            if at > sending.span.start && extents.iter().any(|own| own.start == at) {
                let how = vec![sending.come(at)];
                let record = |world: &mut World| match store.room() {
                    // The next extent cannot begin; this one is recorded.
                    Err(error) if world.has_come(sending, at) => Ok(Err(error)),
                    done => done.map(|_| Ok(())),
                };
                self.change_upload(sending.user, sending.label, how, record)??;
            }
            let room = store.room()?;
            let end = at + room.len();
            if end > stop {
                room[0] = !sending.content[at];
                break;
            }
            room.copy_from_slice(&sending.content[at..end]);
            store.push()?;
            at = end;
            self.meanwhile(sending.depth);
        }
        Ok(at)
    }

    /// Does the server have so much of the part?
    fn has_come(&mut self, sending: &Sending<'_>, upto: usize) -> bool {
        let contents = self.site.contents.clone();
        let known = uploads_of(&self.server().cluster.catalog, &contents);
        let own = known.get(&sending.label).and_then(|own| own.parts.get(&sending.number));
        own == Some(&part(&sending.content[..upto]))
    }

    /// The client has vanished: what has come of the extent is kept.
    fn keep_sent(&mut self, store: Store<'_>, sending: &Sending<'_>, at: usize) -> Result<()> {
        self.tally.broken_off += 1;
        let extents = sending.extents();
        let current = extents.iter().find(|own| at < own.end).or(extents.last()).unwrap();
        if at == current.start {
            assert!(store.keep().is_ok(), "nothing is to be kept of it");
            return Ok(());
        }
        let (user, label, number) = (sending.user, sending.label, sending.number);
        self.change_upload(user, label, vec![sending.come(at)], |_| {
            let kept = store.keep()?;
            assert!(number > 0 || kept == at as u64, "{kept} bytes are kept of {at}");
            Ok(())
        })
    }
}

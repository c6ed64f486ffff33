//! Looking into what is stored, in a session: files on the screen, sums, names, and what waits to go on.

use std::io::{self, Write};

use super::files::Named;
use super::{Running, failed_here};
use crate::cmd::client::advice;
use crate::cmd::client::du::Du;
use crate::cmd::client::find::Find;
use crate::cmd::client::glob::Meant;
use crate::cmd::client::operation::Operation;
use crate::cmd::client::uploads;
use crate::cmd::failure::{Failure, Stop};
use crate::cmd::parse_bytes;
use crate::core::error::{Code, Error};
use crate::core::range::ByteRange;
use crate::core::remote::Selection;

impl Running<'_> {
    /// `cat`: files, one behind the other.
    pub(super) fn cat(&mut self, operation: &Operation) -> Result<(), Stop> {
        operation.arguments.iter().try_for_each(|name| self.write_out(name, None))
    }

    /// `head -c N`: the first bytes of a file.
    pub(super) fn head(&mut self, operation: &Operation) -> Result<(), Stop> {
        let [count, name] = operation.arguments.as_slice() else { return Ok(()) };
        let wrong = |why: String| Failure::new(Code::Usage, format!("head: {count}: {why}"));
        match parse_bytes(count).map_err(wrong)?.checked_sub(1) {
            None => Ok(()),
            last => self.write_out(name, Some(ByteRange::From { first: 0, last })),
        }
    }

    fn write_out(&mut self, name: &str, range: Option<ByteRange>) -> Result<(), Stop> {
        let named = Named { name: name.to_owned(), folder: None };
        let found = self.found(&named, Meant::Files, "retrieve")?;
        self.with_each(found.paths, &mut |running, path| {
            let wanted = Selection { range, ..Selection::default() };
            let mut out = Lines { out: running.env.out(), last: b'\n' };
            let mut remote = running.remote.borrow_mut();
            let written = match remote.retrieve(&path, &wanted, &mut out, &mut |_| {}) {
                // An empty file has no first byte.
                Err(Error::Remote { code: Code::Usage, .. }) if range.is_some() => Ok(()),
                written => written.map(drop),
            };
            if out.last != b'\n' {
                running.env.data("")?; // the prompt begins a line
            }
            match written {
                Err(Error::Io { source, .. }) if source.kind() == io::ErrorKind::BrokenPipe => {
                    Err(Stop::ReaderGone)
                }
                Err(error) => Err(failed_here(&format!("cannot retrieve {path}"), &error).into()),
                Ok(()) => Ok(()),
            }
        })
    }

    /// `du`: how much is in each folder.
    pub(super) fn disk_usage(&mut self, operation: &Operation) -> Result<(), Stop> {
        let folder = self.named_folder(operation)?;
        let du = Du::of(operation.has("-s"));
        let what = format!("cannot look through /{folder}");
        du.show(&mut self.remote.borrow_mut(), &folder, &what, self.env).map(drop)
    }

    /// `find`: what has a name of this form.
    pub(super) fn find(&mut self, operation: &Operation) -> Result<(), Stop> {
        let (above, glob) = match operation.arguments.as_slice() {
            [above, glob] => (above.as_str(), glob),
            [glob] => ("", glob),
            _ => return Ok(()),
        };
        let folder = self.current.borrow().folder(above);
        let folder = folder.map_err(|error| advice::plain(&Error::BadPath(error)))?;
        let wrong = |why| Failure::new(Code::Usage, format!("find: {glob}: {why}"));
        let find = Find::of(glob).map_err(wrong)?;
        let what = format!("cannot look through /{folder}");
        find.look(&mut self.remote.borrow_mut(), &folder, &what, self.env)
    }

    /// `uploads`: what waits to go on.
    pub(super) fn uploads(&mut self) -> Result<(), Stop> {
        let found = self.remote.borrow_mut().uploads(None);
        let found = found.map_err(|error| failed_here("cannot list your uploads", &error))?;
        uploads::list(&found, self.env)
    }
}

/// Bytes on their way to the screen, and the last one of them.
struct Lines<W> {
    out: W,
    last: u8,
}

impl<W: Write> Write for Lines<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.out.write(bytes)?;
        if let Some(last) = bytes[..count].last() {
            self.last = *last;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

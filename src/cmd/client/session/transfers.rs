//! Files to the server or from it, in a session.

use std::path::Path;

use super::{Running, failed_here};
use crate::cmd::client::advice;
use crate::cmd::client::glob::Meant;
use crate::cmd::client::local::Source;
use crate::cmd::client::operation::Operation;
use crate::cmd::client::place::{Existing, Place};
use crate::cmd::client::transfer::{Sent, fetch, send};
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::{Code, Error};
use crate::core::path::{FilePath, PathError, printable};
use crate::core::remote::Selection;
use crate::core::types::Precondition;

pub(super) fn wrong(error: PathError) -> Failure {
    advice::plain(&Error::BadPath(error))
}

/// A store that was carried out.
struct Done {
    path: FilePath,
    sent: Sent,
}

impl Running<'_> {
    /// `STR`: whatever is there.
    pub(super) fn store(&mut self, operation: &Operation) -> Result<(), Stop> {
        let failed =
            |path: &FilePath, error: &Error| failed_here(&format!("cannot store {path}"), error);
        let Some(done) = self.send(operation, |_, _| Precondition::Any, failed)? else {
            return Ok(());
        };
        let name = printable(done.path.name());
        self.tell_sent(&done, &format!("File {name} successfully created and written to"))
    }

    /// `update`: only what the server has, and where this session has retrieved or stored it, only if
    /// that is still what the server has.
    pub(super) fn update(&mut self, operation: &Operation) -> Result<(), Stop> {
        let precondition = |running: &Running<'_>, path: &FilePath| {
            let seen = running.seen.get(path);
            seen.map_or(Precondition::Present, |version| Precondition::Unchanged(*version))
        };
        let failed = |path: &FilePath, error: &Error| {
            let own = [
                (Code::NoSuchFile, "The server does not have this file. Store it:  STR"),
                (Code::NoSuchFolder, "The server does not have this file. Store it:  STR"),
                (
                    Code::Changed,
                    "RTV brings what is there in place of your copy; STR puts your copy in its place.",
                ),
            ];
            advice::own_or_usual(&format!("cannot update {path}"), error, &own)
        };
        let Some(done) = self.send(operation, precondition, failed)? else { return Ok(()) };
        let name = printable(done.path.name());
        self.tell_sent(&done, &format!("File {name} successfully updated"))
    }

    fn send(
        &mut self,
        operation: &Operation,
        precondition: impl FnOnce(&Running<'_>, &FilePath) -> Precondition,
        failed: impl Fn(&FilePath, &Error) -> Failure,
    ) -> Result<Option<Done>, Stop> {
        let Some(named) = self.named(operation)? else { return Ok(None) };
        let (local, path) =
            self.files.source(&named, &self.current.borrow(), self.env).map_err(wrong)?;
        if !local.is_file() {
            return self.no_local_file(&local).map(|()| None);
        }
        let precondition = precondition(self, &path);
        let mut source = Source::open(&local, self.env).map_err(|error| failed(&path, &error))?;
        let remote = &mut self.remote.borrow_mut();
        let sent = send(self.env, remote, &mut source, &path, precondition);
        let sent = sent.map_err(|error| failed(&path, &error))?;
        self.seen.insert(path.clone(), sent.version());
        Ok(Some(Done { path, sent }))
    }

    fn tell_sent(&mut self, done: &Done, text: &str) -> Result<(), Stop> {
        self.env.data(text)?;
        self.env.note(&done.sent.summary());
        self.env.detail(&done.sent.detail());
        Ok(())
    }

    /// What is said where no local file can be stored.
    pub(super) fn no_local_file(&mut self, local: &Path) -> Result<(), Stop> {
        self.env.data("file path was invalid!")?;
        let shown = printable(&local.to_string_lossy());
        self.env.note(&match local.is_dir() {
            true => format!("  {shown} is a folder. With all that is in it:  STR -r"),
            false => format!("  There is no file {shown}"),
        });
        Err(Stop::Told(Code::LocalFile))
    }

    /// `RTV`
    pub(super) fn retrieve(&mut self, operation: &Operation) -> Result<(), Stop> {
        let Some(found) = self.meant(operation, Meant::Files, "retrieve")? else { return Ok(()) };
        self.with_each(found.paths, &mut Running::retrieve_one)
    }

    fn retrieve_one(&mut self, path: FilePath) -> Result<(), Stop> {
        let (local, remark) = self.files.target(&path, self.env);
        let failed = |error: Error| failed_here(&format!("cannot retrieve {path}"), &error);
        let interrupts = self.env.interrupts();
        let place = Place::create(&local, true, Existing::Replaced, interrupts).map_err(failed)?;
        let fetched =
            fetch(self.env, &mut self.remote.borrow_mut(), &path, &Selection::default(), place);
        let fetched = fetched.map_err(failed)?;
        let name = printable(path.name());
        self.env.data(&format!("Successfully retrieved file {name} from the file system"))?;
        self.env.note(&fetched.summary());
        self.env.note(&fetched.digest());
        fetched.remark().iter().for_each(|line| self.env.note(line));
        if let Some(remark) = remark {
            self.env.note(&format!("  {}", printable(&remark)));
        }
        self.seen.insert(path, fetched.version());
        Ok(())
    }
}

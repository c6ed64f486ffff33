//! One file to the server or from it, or away, in a session.

use super::files::Named;
use super::{Running, failed_here};
use crate::cmd::client::advice;
use crate::cmd::client::local::Source;
use crate::cmd::client::operation::Operation;
use crate::cmd::client::place::{Existing, Place};
use crate::cmd::client::transfer::{Sent, fetch, send};
use crate::cmd::env::Asked;
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::{Code, Error};
use crate::core::path::{FilePath, PathError, printable};
use crate::core::remote::Selection;
use crate::core::types::Precondition;

fn wrong(error: PathError) -> Failure {
    advice::plain(&Error::BadPath(error))
}

/// A store that was carried out.
struct Done {
    path: FilePath,
    sent: Sent,
}

impl Running<'_> {
    /// What the user names: in the line's arguments, or asked for.
    fn named(&mut self, operation: &Operation) -> Result<Option<Named>, Stop> {
        match operation.arguments.as_slice() {
            [name] => Ok(Some(Named { name: name.clone(), folder: None })),
            [name, folder, ..] => {
                Ok(Some(Named { name: name.clone(), folder: Some(folder.clone()) }))
            }
            [] => {
                let name = self.env.line("Enter the file name: ", Asked::Answer)?;
                let Some(name) = name else { return Ok(None) };
                let folder = self.env.line("Enter the file path: ", Asked::Answer)?;
                let Some(folder) = folder else { return Ok(None) };
                let folder = Some(folder.trim().to_owned());
                Ok(Some(Named { name: name.trim().to_owned(), folder }))
            }
        }
    }

    /// The stored file that is meant.
    fn stored(&mut self, operation: &Operation) -> Result<Option<FilePath>, Stop> {
        let Some(named) = self.named(operation)? else { return Ok(None) };
        let path = named.stored(&self.current.borrow()).map_err(wrong)?;
        Ok(Some(path))
    }

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
            self.env.data("file path was invalid!")?;
            self.env.note(&format!("  There is no file {}", printable(&local.to_string_lossy())));
            return Err(Stop::Told(Code::LocalFile));
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

    /// `RTV`
    pub(super) fn retrieve(&mut self, operation: &Operation) -> Result<(), Stop> {
        let Some(path) = self.stored(operation)? else { return Ok(()) };
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
        if let Some(remark) = remark {
            self.env.note(&format!("  {}", printable(&remark)));
        }
        self.seen.insert(path, fetched.version());
        Ok(())
    }

    /// `DEL`
    pub(super) fn delete(&mut self, operation: &Operation) -> Result<(), Stop> {
        let Some(path) = self.stored(operation)? else { return Ok(()) };
        let failed = |error: Error| failed_here(&format!("cannot delete {path}"), &error);
        self.remote.borrow_mut().delete(&path).map_err(failed)?;
        self.seen.remove(&path);
        let name = printable(path.name());
        self.env.data(&format!("Successfully removed file {name} from the file system"))
    }
}

//! What a line of the session is about: one stored file, or all that match a pattern.

use super::files::Named;
use super::{Running, failed_here};
use crate::cmd::client::glob::{self, Meant};
use crate::cmd::client::operation::Operation;
use crate::cmd::env::Asked;
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::Code;
use crate::core::path::FilePath;

/// Stored files or folders.
pub(super) struct Paths {
    pub(super) paths: Vec<FilePath>,
    /// Were they found by a pattern?
    pub(super) are_matches: bool,
}

impl Running<'_> {
    /// What the user names: in the line's arguments, or asked for.
    pub(super) fn named(&mut self, operation: &Operation) -> Result<Option<Named>, Stop> {
        // A folder may be named as Tab completes it.
        let own = |name: &String| match name.strip_suffix('/') {
            Some(folder) if operation.has("-r") => folder.to_owned(),
            _ => name.clone(),
        };
        match operation.arguments.as_slice() {
            [name] => Ok(Some(Named { name: own(name), folder: None })),
            [name, folder, ..] => Ok(Some(Named { name: own(name), folder: Some(folder.clone()) })),
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

    /// What is stored of that; `verb` could not be done otherwise.
    pub(super) fn meant(
        &mut self,
        operation: &Operation,
        meant: Meant,
        verb: &str,
    ) -> Result<Option<Paths>, Stop> {
        let Some(named) = self.named(operation)? else { return Ok(None) };
        self.found(&named, meant, verb).map(Some)
    }

    /// The same of something that was named.
    pub(super) fn found(&self, named: &Named, meant: Meant, verb: &str) -> Result<Paths, Stop> {
        let current = self.current.borrow();
        let text = named.whole();
        let found = glob::named(
            &mut self.remote.borrow_mut(),
            &text,
            named.stored(&current),
            meant,
            |above| current.folder(above).ok(),
        );
        let found = found.map_err(|error| match error.code() {
            Code::BadPath => crate::cmd::client::advice::plain(&error),
            _ => failed_here(&format!("cannot {verb} {text}"), &error),
        })?;
        let are_matches = found.iter().any(|named| named.is_match);
        let paths = found.into_iter().filter_map(|named| named.path.ok()).collect();
        Ok(Paths { paths, are_matches })
    }

    /// Does something with each. One that fails stops none of the others, where there are several.
    pub(super) fn with_each(
        &mut self,
        paths: Vec<FilePath>,
        act: &mut dyn FnMut(&mut Self, FilePath) -> Result<(), Stop>,
    ) -> Result<(), Stop> {
        let (all, mut failed) = (paths.len(), 0);
        for path in paths {
            match act(self, path) {
                Err(Stop::Failed(why)) if all > 1 && self.remote.borrow().is_usable() => {
                    self.env.tell(&why);
                    failed += 1;
                }
                done => done?,
            }
        }
        if failed == 0 {
            return Ok(());
        }
        let text = format!("{failed} of {all} failed, {} done", all - failed);
        Err(Failure::new(Code::SomeFailed, text).hint("The lines above say why.").into())
    }
}

//! What a session does with folders, and the ways in which it lists.

use std::fs;
use std::path::Path;

use super::{LocalFiles, Running, failed_here};
use crate::cmd::client::entries::{Nodes, line, name, row};
use crate::cmd::client::operation::Operation;
use crate::cmd::client::rmdir::confirm;
use crate::cmd::client::{advice, cp, mv, rmdir};
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::{Code, Error};
use crate::core::io::reason;
use crate::core::path::{FilePath, FolderPath, PathError, printable};
use crate::core::wire::extended::{Entry, Extent};

pub(super) fn wrong(error: PathError) -> Failure {
    advice::plain(&Error::BadPath(error))
}

fn by_name(entry: &Entry) -> String {
    printable(&name(entry))
}

fn by_row(entry: &Entry) -> String {
    row(entry, Nodes::Counted)
}

impl Running<'_> {
    /// `INF`: everything, as specified; or what is at a path.
    pub(super) fn everything(&mut self, operation: &Operation) -> Result<(), Stop> {
        match operation.arguments.first() {
            None => self.listing(&FolderPath::top(), Extent::All, line),
            Some(path) => {
                let path = self.current.borrow().folder(path).map_err(wrong)?;
                self.listing(&path, Extent::Children, by_row)
            }
        }
    }

    /// `ls`: what is in one folder.
    pub(super) fn list(&mut self, operation: &Operation) -> Result<(), Stop> {
        let folder = self.named_folder(operation)?;
        let show = if operation.has("-l") { by_row } else { by_name };
        self.listing(&folder, Extent::Children, show)
    }

    /// `fetch`: everything below a folder, with information about each.
    pub(super) fn details(&mut self, operation: &Operation) -> Result<(), Stop> {
        let folder = self.named_folder(operation)?;
        self.listing(&folder, Extent::All, by_row)
    }

    /// The folder that a line names, or the one that the session is in.
    pub(super) fn named_folder(&self, operation: &Operation) -> Result<FolderPath, Failure> {
        let text = operation.arguments.first().map_or("", String::as_str);
        self.current.borrow().folder(text).map_err(wrong)
    }

    fn listing(
        &mut self,
        path: &FolderPath,
        extent: Extent,
        show: fn(&Entry) -> String,
    ) -> Result<(), Stop> {
        let mut stop = None;
        let mut empty = true;
        let env = &mut *self.env;
        let listed = self.remote.borrow_mut().list_below(path, extent, &mut |entry| {
            empty = false;
            env.data(&show(&entry)).map_err(|why| {
                stop = Some(why);
                Error::other(Code::Interrupted, "nobody reads the listing")
            })
        });
        if let Some(stop) = stop {
            return Err(stop);
        }
        let what = match path.is_top() {
            true => "cannot list your files".to_owned(),
            false => format!("cannot list {path}"),
        };
        listed.map_err(|error| failed_here(&what, &error))?;
        match (empty, path.is_top()) {
            (true, true) => self.env.data("No files in database"),
            (true, false) => self.env.data(&format!("/{path} is empty")),
            _ => Ok(()),
        }
    }

    /// `llist`: local files, which need no server.
    pub(super) fn local(&mut self, operation: &Operation) -> Result<(), Stop> {
        let folder = match &self.files {
            LocalFiles::Mirrored(root) => root.join(self.named_folder(operation)?.as_str()),
            LocalFiles::AsNamed => {
                let text = operation.arguments.first().map_or(".", String::as_str);
                self.env.at(Path::new(text))
            }
        };
        let shown = printable(&folder.to_string_lossy());
        let entries = fs::read_dir(&folder).map_err(|error| {
            let text = format!("cannot list the local folder {shown}: {}", reason(&error));
            Failure::new(Code::LocalFile, text).hint("Files that are retrieved make it.")
        })?;
        let mut names: Vec<String> = entries
            .flatten()
            .map(|entry| {
                let slash = if entry.path().is_dir() { "/" } else { "" };
                format!("{}{slash}", printable(&entry.file_name().to_string_lossy()))
            })
            .collect();
        names.sort();
        if names.is_empty() {
            return self.env.data(&format!("No files in the local folder {shown}"));
        }
        names.iter().try_for_each(|name| self.env.data(name))
    }

    /// `cd`: to a folder that is there.
    pub(super) fn change_folder(&mut self, operation: &Operation) -> Result<(), Stop> {
        let text = operation.arguments.first().map_or("/", String::as_str);
        let folder = self.current.borrow().folder(text).map_err(wrong)?;
        let found = self.remote.borrow_mut().look(&folder);
        let is_there = match found {
            Ok(Entry::Folder(_)) => Ok(()),
            Err(error) if error.code() != Code::NoSuchFile => Err(error),
            _ => Err(Error::NoSuchFolder(folder.clone())),
        };
        is_there.map_err(|error| failed_here(&format!("cannot go to {text}"), &error))?;
        *self.current.borrow_mut() = super::Current::at(folder.clone());
        self.env.data(&format!("Now in /{folder}"))
    }

    /// `pwd`
    pub(super) fn where_it_is(&mut self) -> Result<(), Stop> {
        let text = format!("/{}", self.current.borrow().folder_itself());
        self.env.data(&text)
    }

    /// `mkdir`
    pub(super) fn make_folder(&mut self, operation: &Operation) -> Result<(), Stop> {
        let folder = self.named_folder(operation)?;
        let made = self.remote.borrow_mut().make_folder(&folder, operation.has("-p"));
        made.map_err(|error| {
            let own = [
                (Code::Exists, "Nothing was changed. To accept a folder that is there:  -p"),
                (Code::NoSuchFolder, "Nothing was changed. Make those above it too:  mkdir -p"),
            ];
            advice::own_or_usual(&format!("cannot make the folder {folder}"), &error, &own)
        })?;
        self.env.data(&format!("Made the folder /{folder}"))
    }

    /// `rmdir`
    pub(super) fn remove_folder(&mut self, operation: &Operation) -> Result<(), Stop> {
        let folder = self.named_folder(operation)?;
        let recursive = operation.has("-r");
        if recursive && !operation.has("--yes") {
            confirm(&format!("/{}", folder.as_str()), self.env)?;
        }
        let removed = self.remote.borrow_mut().remove_folder(&folder, recursive);
        let removed = removed.map_err(|error| {
            let hint = "Nothing was changed. With everything in it:  rmdir -r";
            let what = format!("cannot remove the folder {folder}");
            match error.code() {
                Code::NotAllowed => advice::own_or_usual(&what, &error, &[(error.code(), hint)]),
                _ => failed_here(&what, &error),
            }
        })?;
        self.leave(&folder);
        self.env.data(&rmdir::summary(&folder, removed))
    }

    /// Leaves a folder that is gone: nobody stays where nothing is.
    pub(super) fn leave(&mut self, folder: &FolderPath) {
        let here = self.current.borrow().folder_itself().clone();
        if here.is_within(folder) {
            let above = folder.split().map(|(above, _)| above).unwrap_or_default();
            *self.current.borrow_mut() = super::Current::at(above);
        }
    }

    /// `mv`
    pub(super) fn move_to(&mut self, operation: &Operation) -> Result<(), Stop> {
        let (from, to) = self.two_paths(operation)?;
        let moved = self.remote.borrow_mut().move_to(&from, &to, operation.has("--replace"));
        let moved = moved.map_err(|error| carry_failed("move", operation, &error, mv::failed))?;
        self.env.data(&mv::summary(&from, &moved))
    }

    /// `cp`
    pub(super) fn copy(&mut self, operation: &Operation) -> Result<(), Stop> {
        let (from, to) = self.two_paths(operation)?;
        let how = [operation.has("-r"), operation.has("--replace")];
        let copied = self.remote.borrow_mut().copy(&from, &to, how);
        let copied = copied.map_err(|error| carry_failed("copy", operation, &error, cp::failed))?;
        self.env.data(&cp::summary(&from, &copied))
    }

    /// The two paths of a line.
    fn two_paths(&self, operation: &Operation) -> Result<(FilePath, FolderPath), Failure> {
        let [from, to] = ends(operation);
        let from = self.current.borrow().folder(from).map_err(wrong)?;
        let from = FilePath::parse_rooted(from.as_str()).map_err(wrong)?;
        Ok((from, self.current.borrow().folder(to).map_err(wrong)?))
    }
}

fn ends(operation: &Operation) -> [&str; 2] {
    [0, 1].map(|at| operation.arguments.get(at).map_or("", String::as_str))
}

fn carry_failed(
    verb: &str,
    operation: &Operation,
    error: &Error,
    otherwise: fn(&str, &str, &Error) -> Failure,
) -> Failure {
    let [from, to] = ends(operation);
    match error.code() {
        Code::NoSuchFile => failed_here(&format!("cannot {verb} {from}"), error),
        _ => otherwise(from, to, error),
    }
}

//! Whole folders to the server, from it, or away, in a session.

use std::path::Path;

use super::transfers::wrong;
use super::{LocalFiles, Running, failed_here};
use crate::cmd::client::connection::{Another, Connection};
use crate::cmd::client::del::{self, Deleted};
use crate::cmd::client::folder::{self, Download, Filter, Links, Upload};
use crate::cmd::client::glob::{Meant, shown};
use crate::cmd::client::operation::Operation;
use crate::cmd::client::place::Existing;
use crate::cmd::client::rmdir;
use crate::cmd::failure::Stop;
use crate::core::error::Error;
use crate::core::path::printable;
use crate::core::types::Precondition;

impl Running<'_> {
    /// A further connection, over which several files can travel at a time.
    fn another(&mut self) -> Result<Connection, Stop> {
        let again = match &self.again {
            Some(again) => again.clone(),
            None => {
                let user = self.settings.user(self.env)?;
                let password = self.settings.password(&user, self.env)?;
                Another::by_password(self.settings.clone(), user, password)
            }
        };
        let opened = again.open();
        Ok(opened.map_err(|error| failed_here("cannot open a further connection", &error))?)
    }

    /// `STR -r`
    pub(super) fn store_tree(&mut self, operation: &Operation) -> Result<(), Stop> {
        let Some(named) = self.named(operation)? else { return Ok(()) };
        let source = self.files.source(&named, &self.current.borrow(), self.env);
        let (local, path) = source.map_err(wrong)?;
        if !local.exists() {
            return self.no_local_file(&local);
        }
        let connection = self.another()?;
        let upload = Upload {
            files: &[local],
            to: path.folder(),
            name: Some(path.name()),
            precondition: Precondition::Any,
            filter: &Filter::default(),
            manner: folder::Manner::default(),
            patience: Default::default(),
        };
        folder::upload(&upload, |_| Ok(connection), self.env)
    }

    /// `RTV -r`
    pub(super) fn retrieve_tree(&mut self, operation: &Operation) -> Result<(), Stop> {
        let Some(found) = self.meant(operation, Meant::Trees, "retrieve")? else { return Ok(()) };
        let paths: Vec<String> = found.paths.iter().map(|path| path.as_str().to_owned()).collect();
        let (to, keeps_paths, existing) = match &self.files {
            LocalFiles::Mirrored(root) => (root.clone(), true, Existing::Replaced),
            LocalFiles::AsNamed => (self.env.at(Path::new("")), false, Existing::Kept),
        };
        let download = Download {
            paths: &paths,
            at: None,
            to,
            keeps_paths,
            existing,
            links: Links::Store,
            unsafe_links: false,
            manner: folder::Manner::default(),
            patience: Default::default(),
        };
        let connection = self.another()?;
        folder::download(&download, connection, self.env)
    }

    /// `DEL`, and with `-r` also folders.
    pub(super) fn delete(&mut self, operation: &Operation) -> Result<(), Stop> {
        let recursive = operation.has("-r");
        let meant = if recursive { Meant::Trees } else { Meant::Files };
        let Some(found) = self.meant(operation, meant, "delete")? else { return Ok(()) };
        if !operation.has("--yes") {
            let names = shown(found.paths.iter().map(|path| path.as_str()));
            match (recursive, found.are_matches && found.paths.len() > 1) {
                (true, _) => rmdir::confirm(&names, self.env)?,
                (false, true) => del::confirm_matches(&names, self.env)?,
                (false, false) => {}
            }
        }
        self.with_each(found.paths, &mut |running, path| {
            let what = format!("cannot delete {path}");
            let deleted = del::delete(&mut running.remote.borrow_mut(), path, recursive);
            match deleted.map_err(|error: Error| failed_here(&what, &error))? {
                Deleted::File(path) => {
                    running.seen.remove(&path);
                    let name = printable(path.name());
                    running
                        .env
                        .data(&format!("Successfully removed file {name} from the file system"))
                }
                Deleted::Folder(folder, removed) => {
                    running.leave(&folder);
                    running.env.data(&rmdir::summary(&folder, removed))
                }
            }
        })
    }
}

//! What only the target has goes. A folder goes only once it is empty: something that was left out, or
//! has come meanwhile, keeps it.

use std::fs;
use std::io::{self, ErrorKind};

use serde_json::json;

use super::super::super::advice;
use super::super::super::connection::{Another, Connection};
use super::super::count::Count;
use super::super::plan::{Direction, Extra, counted_extra};
use super::super::pool::{self, Shared};
use super::super::sides::local_path;
use super::super::upload::join;
use super::Run;
use crate::cmd::env::Env;
use crate::cmd::failure::Stop;
use crate::core::error::{Code, Error, Result};
use crate::core::io::reason;
use crate::core::path::printable;

/// How much has gone.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Deleted {
    pub(super) files: usize,
    pub(super) folders: usize,
}

impl Deleted {
    /// What is said of it.
    pub(super) fn line(self, direction: Direction) -> Option<String> {
        let Deleted { files, folders } = self;
        let how = match direction {
            Direction::Up => ". To have one back:  palk client undo PATH",
            Direction::Down => " for ever",
        };
        (files + folders > 0).then(|| format!("Deleted {}{how}", counted_extra(files, folders)))
    }
}

impl Run<'_> {
    /// Deletes these: files first, then folders, the innermost first.
    ///
    /// # Errors
    /// Those of connecting, and of [`Count::failed`].
    pub(super) fn delete(
        &self,
        extra: &[Extra],
        again: &Another,
        shared: &Shared,
        deleted: &mut Deleted,
        count: &mut Count,
        env: &mut Env,
    ) -> std::result::Result<(), Stop> {
        if extra.is_empty() {
            return Ok(());
        }
        let (folders, files): (Vec<&Extra>, Vec<&Extra>) =
            extra.iter().partition(|own| own.is_folder);
        let mut tell = |count: &mut Count, (own, gone): Gone<'_>, env: &mut Env| {
            let path = self.full_path(&own.path);
            match gone {
                Ok(false) => Ok(()),
                Ok(true) => {
                    *if own.is_folder { &mut deleted.folders } else { &mut deleted.files } += 1;
                    let line = format!("Deleted {}", printable(&path));
                    count.done(env, None, &line, json!({"code": 0, "path": path, "deleted": true}))
                }
                Err(error) => {
                    let why = advice::failure(&format!("cannot delete {path}"), &error);
                    count.failed(env, &path, 0, why)
                }
            }
        };
        if self.sync.direction == Direction::Down {
            for own in files.into_iter().chain(folders.into_iter().rev()) {
                tell(count, (own, self.delete_local(own)), env)?;
            }
            return Ok(());
        }
        let open = || {
            let opened = again.clone().open();
            opened
                .map_err(|error| advice::failure("cannot delete what only the target has", &error))
        };
        let work =
            |connection: &mut Connection, own| (own, self.delete_stored(own, connection, shared));
        let most = usize::from(self.sync.manner.transfers).min(files.len()).max(1);
        for (jobs, most) in [(files, most), (folders.into_iter().rev().collect(), 1)] {
            pool::run(open()?, most, shared, jobs.into_iter(), &work, &mut |outcome| {
                count.follow(shared, outcome, env, &mut tell)
            })?;
        }
        Ok(())
    }

    fn full_path(&self, below: &str) -> String {
        match self.sync.direction {
            Direction::Up => match join(&self.sync.stored, below) {
                Ok(path) => format!("/{}", path.as_str()),
                Err(_) => below.to_owned(),
            },
            Direction::Down => local_path(&self.trees.root, below).display().to_string(),
        }
    }

    /// Deletes something that is stored; false for a folder that is not empty. What has gone by itself is
    /// gone as well.
    fn delete_stored(
        &self,
        own: &Extra,
        connection: &mut Connection,
        shared: &Shared,
    ) -> Result<bool> {
        let path = join(&self.sync.stored, &own.path)?;
        let gone = shared.persist(connection, true, &mut |remote, _| match own.is_folder {
            true => remote.remove_folder(&path.as_folder(), false).map(drop),
            false => remote.delete(&path),
        });
        match gone {
            Err(error) if matches!(error.code(), Code::NoSuchFile | Code::NoSuchFolder) => Ok(true),
            Err(error) if own.is_folder && error.code() == Code::NotAllowed => Ok(false),
            gone => gone.map(|()| true),
        }
    }

    fn delete_local(&self, own: &Extra) -> Result<bool> {
        let path = local_path(&self.trees.root, &own.path);
        let gone = if own.is_folder { fs::remove_dir(&path) } else { fs::remove_file(&path) };
        match gone {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
            Err(error) if own.is_folder && error.kind() == ErrorKind::DirectoryNotEmpty => {
                Ok(false)
            }
            gone => gone
                .map(|()| true)
                .map_err(|error: io::Error| Error::other(Code::LocalFile, reason(&error))),
        }
    }
}

/// What has come of deleting something.
type Gone<'a> = (&'a Extra, Result<bool>);

//! What was, for the page: versions, deleted names, undo, and what a path was at a time.

use hyper::StatusCode;

use super::api::{told, when};
use super::asked::{Asked, Outcome};
use crate::core::error::{Code, Error};
use crate::core::types::VersionId;
use crate::core::wire::extended::Which;
use crate::core::wire::extended::history::DeletedEntry;
use crate::core::wire::web::form::Form;
use crate::core::wire::web::json::{Deleted, DeletedItem, Restored, Undone, Version};

/// How many deleted names are told at most.
const DELETED_MAX: usize = 1000;

impl Asked {
    pub(super) fn tell_versions(&self) -> Outcome {
        let versions = self.files().versions(&self.user, &self.file()?)?;
        told(&versions.into_iter().map(Version::from).collect::<Vec<_>>())
    }

    pub(super) fn tell_deleted(&self) -> Outcome {
        let deleted = self.files().deleted(&self.user, &self.path)?;
        let item = |entry: &DeletedEntry| {
            DeletedItem::of(entry, self.seen(&entry.path.as_folder()).as_str())
        };
        let more = deleted.len().saturating_sub(DELETED_MAX);
        told(&Deleted { entries: deleted.iter().take(DELETED_MAX).map(item).collect(), more })
    }

    /// The bytes of what a file was.
    pub(super) fn read_old(&mut self, form: &Form) -> Outcome {
        let which = match (form.get("version"), when(form)?) {
            (Some(version), _) => Which::version(version)?,
            (None, Some(at)) => Which::At(at),
            (None, None) => Which::Current,
        };
        self.read(&which)
    }

    pub(super) fn undo(&self) -> Outcome {
        self.guard_name(&self.path, &[])?;
        let outcome = self.files().undo(&self.user, &self.file()?)?;
        told(&Undone::from(outcome))
    }

    /// Makes a path what it was: a file one of its versions, or anything what it was at a time.
    pub(super) fn restore(&self, form: &Form) -> Outcome {
        self.guard_name(&self.path, &[])?;
        if let Some(version) = form.get("version") {
            let bad = |_| Error::Protocol(format!("{version:?} is no version's id"));
            let version: VersionId = version.parse().map_err(bad)?;
            let path = self.file()?;
            // Only one that this very path was: others are not for it to name.
            let versions = self.files().versions(&self.user, &path)?;
            let mut own = versions.iter().filter_map(|one| one.file.as_ref());
            if !own.any(|one| one.version == version) {
                let text = format!("{path} was never this version, as far as is known");
                return Err(Error::other(Code::NoSuchFile, text).into());
            }
            self.files().name_version(&self.user, &path, version)?;
            return Ok(StatusCode::NO_CONTENT.into());
        }
        let at = when(form)?.ok_or_else(|| Error::Protocol("it is not said which time".into()))?;
        let is_look = form.get("look").is_some();
        let (told_of, differences) = self.files().revert(&self.user, &self.path, &at, is_look)?;
        told(&Restored::of(told_of, &differences))
    }
}

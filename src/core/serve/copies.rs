//! Copies on the server: no byte travels, and none is stored again.
//!
//! A copy counts for its account's quota like a file that is stored, so that the sizes of all files
//! together are at most the quota; see `quota.rs`.

use crate::core::catalog::{CopyPlan, Relocated};
use crate::core::error::{Code, Error, Result};
use crate::core::path::{FilePath, FolderPath};
use crate::core::serve::files::{Files, User};
use crate::core::wire::extended::{Entry, Moved};

/// So often a copy is planned anew where other changes come between.
const TRIES: usize = 10;

impl Files {
    /// Copies a file, or with `recursive` a folder with all that is in it: into `to` if that is a folder,
    /// else to that name.
    ///
    /// # Errors
    /// [`Code::NotAllowed`] for a folder without `recursive`; [`Error::OverQuota`];
    /// [`Code::Temporary`] if it is not known yet whether a file can be read, or changes came between again
    /// and again; those of [`Files::move_to`].
    pub fn copy(
        &self,
        user: &User,
        from: &FilePath,
        to: &FolderPath,
        [recursive, replace]: [bool; 2],
    ) -> Result<Moved> {
        user.sees(&from.as_folder())?;
        let id = user.reaches_into(to)?;
        self.may_change()?;
        let catalog = &self.cluster.catalog;
        catalog.check_room()?;
        for _ in 0..TRIES {
            let plan = catalog.plan_copy(id, from, to, replace)?;
            if plan.version.is_none() {
                if !recursive {
                    return Err(Error::other(Code::NotAllowed, format!("{from} is a folder")));
                }
                return self.copy_folder(user, from, &plan);
            }
            let reservation = self.usage.reserve_copy(catalog, id, &plan.to, plan.bytes)?;
            let (from, to) = (from.clone(), to.clone());
            let copied = self.change(move |draft| draft.copy_file(id, &from, &to, &plan))?;
            drop(reservation);
            if let Some(Relocated { to, is_folder, files, replaced, .. }) = copied {
                if replaced {
                    self.cluster.notifier.notify();
                }
                return Ok(Moved { to, is_folder, files, replaced });
            }
        }
        Err(Error::other(Code::Temporary, format!("{from} or {to} changes all the time")))
    }

    /// Copies a file, or a folder with all that is in it if `is_deep`, to exactly this path. With `replace`
    /// what is there, also a folder, goes in the same change and can be had back. True if something was
    /// there.
    ///
    /// # Errors
    /// As [`Files::copy`]; [`Error::FolderExists`] for a folder without `replace`.
    pub fn copy_exactly(
        &self,
        user: &User,
        from: &FilePath,
        to: &FilePath,
        [is_deep, replace]: [bool; 2],
    ) -> Result<bool> {
        user.sees(&from.as_folder())?;
        let id = user.changes_file(to)?;
        self.may_change()?;
        let catalog = &self.cluster.catalog;
        catalog.check_room()?;
        let there = match self.look(user, &to.as_folder()) {
            Ok(there) => Some(there),
            Err(Error::NoSuchFile(_)) => None,
            Err(error) => return Err(error),
        };
        match (self.look(user, &from.as_folder())?, there) {
            (Entry::File(file), Some(Entry::Folder(folder))) => {
                if !replace {
                    return Err(Error::FolderExists(folder));
                }
                let _reservation = self.usage.reserve_copy(catalog, id, to, file.bytes)?;
                let (from, to) = (from.clone(), to.clone());
                self.change(move |draft| draft.copy_over_folder(id, &from, &to, file.version))?;
                self.cluster.notifier.notify();
                Ok(true)
            }
            (Entry::File(_), _) => {
                Ok(self.copy(user, from, &to.as_folder(), [false, replace])?.replaced)
            }
            (Entry::Folder(folder), _) => {
                self.copy_folder_over(user, &folder, to, [is_deep, replace])
            }
        }
    }

    fn copy_folder_over(
        &self,
        user: &User,
        from: &FolderPath,
        to: &FilePath,
        [is_deep, replace]: [bool; 2],
    ) -> Result<bool> {
        if to.as_folder().is_within(from) || from.is_within(&to.as_folder()) {
            return Err(Error::IntoItself(from.clone()));
        }
        let (catalog, id) = (&self.cluster.catalog, user.changes_file(to)?);
        let mut reservation = self.usage.reserve_copy(catalog, id, to, 0)?;
        let begun =
            self.cluster.retention.begin(|| self.change(move |draft| draft.begin_folder(id)))?;
        let key = begun.key();
        let bytes = if is_deep { self.fill(user, key, from, None)? } else { 0 };
        reservation.resize_copy(catalog, bytes)?;
        let target = to.clone();
        let replaced =
            self.change(move |draft| draft.attach_copy_over(id, key, &target, replace))?;
        self.cluster.notifier.notify();
        Ok(replaced)
    }

    /// Fills a folder that is in no other one, then puts it in its place.
    fn copy_folder(&self, user: &User, from: &FilePath, plan: &CopyPlan) -> Result<Moved> {
        let catalog = &self.cluster.catalog;
        let id = user.account.id;
        let to = plan.to.clone();
        // Refused before anything is done for it. What was added meanwhile is counted afterwards.
        let mut reservation = self.usage.reserve_copy(catalog, id, &to, plan.bytes)?;
        let begun =
            self.cluster.retention.begin(|| self.change(move |draft| draft.begin_folder(id)))?;
        let key = begun.key();
        let bytes = self.fill(user, key, &from.as_folder(), None)?;
        reservation.resize_copy(catalog, bytes)?;
        let target = to.clone();
        let files = self.change(move |draft| draft.attach_copy(id, key, &target))?;
        Ok(Moved { to, is_folder: true, files, replaced: false })
    }
}

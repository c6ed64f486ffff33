//! A local tree and a stored one, held against each other.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use super::super::advice;
use super::Filter;
use super::compare::{By, pairs};
use super::judge::{Verdict, judge};
use super::sides::{Aside, Listing, Top, local_items, local_top};
use super::walk::Patterns;
use crate::cmd::env::{Bar, Env};
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::{Code, Error};
use crate::core::path::{FolderPath, printable};

/// Which trees.
#[derive(Debug)]
pub(super) struct Trees<'a> {
    /// As it was typed.
    pub(super) local: &'a Path,
    pub(super) root: PathBuf,
    pub(super) local_top: Top,
    pub(super) stored: FolderPath,
    patterns: Patterns,
    filter: &'a Filter,
}

impl<'a> Trees<'a> {
    /// Looks at the local one.
    ///
    /// # Errors
    /// [`Code::LocalFile`] if it can be none, [`Code::Usage`] for a pattern that is none.
    pub(super) fn open(
        local: &'a Path,
        stored: &FolderPath,
        filter: &'a Filter,
        env: &Env,
    ) -> Result<Trees<'a>, Failure> {
        let root = env.at(local);
        let shown = local.display();
        let failed = |error: Error| advice::failure(&format!("cannot compare {shown}"), &error);
        let local_top = local_top(&root).map_err(failed)?;
        let patterns = filter.patterns(&root, env).map_err(failed)?;
        let stored = stored.clone();
        Ok(Trees { local, root, local_top, stored, patterns, filter })
    }

    /// Something that is not there cannot be compared.
    ///
    /// # Errors
    /// [`Code::LocalFile`].
    pub(super) fn expect_local(&self) -> Result<(), Failure> {
        let error = Error::other(Code::LocalFile, "no such file or folder");
        match self.local_top {
            Top::Missing => Err(self.failure(&error)),
            Top::File | Top::Folder => Ok(()),
        }
    }

    /// The same of what is stored; and a file is no folder.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`], [`Code::Usage`].
    pub(super) fn expect(&self, listing: &Listing, may_be_missing: bool) -> Result<(), Failure> {
        match (self.local_top, listing.top) {
            (_, Top::Missing) if !may_be_missing => {
                let text = format!("there is no {}", self.stored_shown());
                Err(self.failure(&Error::other(Code::NoSuchFile, text)))
            }
            (Top::File, Top::Folder) | (Top::Folder, Top::File) => {
                let text = "one is a file and the other a folder";
                let hint = "Nothing was changed. Name two files or two folders.";
                let error = Error::other(Code::Usage, text);
                Err(Failure::of(&self.what(), &error).hint(hint))
            }
            _ => Ok(()),
        }
    }

    /// Why they cannot be compared, with what to do.
    pub(super) fn failure(&self, error: &Error) -> Failure {
        advice::failure(&self.what(), error)
    }

    fn what(&self) -> String {
        format!("cannot compare {} with {}", self.local.display(), self.stored_shown())
    }

    /// `:docs`
    pub(super) fn stored_shown(&self) -> String {
        format!(":{}", self.stored.as_str())
    }

    /// What stands for something in them; the name of the whole if it is that.
    pub(super) fn shown(&self, below: &str) -> String {
        match below {
            "" => printable(&self.local.to_string_lossy()),
            below => printable(below),
        }
    }

    /// Holds them against each other and tells what comes of it, in order. The bar is for printing
    /// something in its place.
    ///
    /// # Errors
    /// Those of the listing; the first of `tell`.
    pub(super) fn compare(
        &self,
        listing: Listing,
        by: By,
        mut bar: Bar,
        tell: &mut dyn FnMut(Verdict, &Bar) -> Result<(), Stop>,
    ) -> Result<Aside, Stop> {
        let (aside, all) = (RefCell::new(Aside::default()), listing.count);
        let here = local_items(&self.root, self.patterns.clone(), self.filter.links, &aside);
        let here = here.take_while(|_| self.local_top != Top::Missing);
        let there = listing.items(self.patterns.clone(), self.filter.links, &aside);
        let failed = |error: &Error| self.failure(error).into();
        let mut seen = 0_u64;
        judge(pairs(here, there), by, &self.root, &failed, &mut |verdict| {
            seen += u64::from(!matches!(verdict, Verdict::Here(_)));
            let percent = (100 * seen).checked_div(all).unwrap_or(100);
            bar.say(percent.min(100), &format!("{seen} of {all}"));
            tell(verdict, &bar)
        })?;
        let mut aside = aside.into_inner();
        if self.local_top == Top::Missing {
            aside.bad.clear(); // that it is missing is known
        }
        Ok(aside)
    }
}

//! Which local file goes with which stored one in a session.
//!
//! Invariant: a path of the specified session stays under its folder, since stored paths have no
//! `..`. A file that is retrieved where the user names files freely never replaces one that is there.

use std::path::{Path, PathBuf};

use super::current::Current;
use crate::cmd::client::settings::from_home;
use crate::cmd::env::Env;
use crate::core::path::{FilePath, PathError};

/// Where a session's local files are.
pub(crate) enum LocalFiles {
    /// In a folder, under the path that they have on the server, as specified.
    Mirrored(PathBuf),
    /// Wherever the user says, as seen from the current folder; what is retrieved comes to it.
    AsNamed,
}

/// A file as the user names it.
pub(super) struct Named {
    pub(super) name: String,
    /// Given apart from the name.
    pub(super) folder: Option<String>,
}

impl Named {
    /// Both in one, as it may be typed.
    pub(super) fn whole(&self) -> String {
        match self.folder.as_deref().map(|folder| folder.trim_end_matches('/')) {
            None => self.name.clone(),
            Some("") if self.folder.as_deref() == Some("") => self.name.clone(),
            Some(folder) => format!("{folder}/{}", self.name),
        }
    }

    /// The stored file of this name, as seen from a folder.
    pub(super) fn stored(&self, current: &Current) -> Result<FilePath, PathError> {
        match &self.folder {
            None => current.file(&self.name),
            Some(folder) => current.folder(folder)?.join(&self.name),
        }
    }
}

impl LocalFiles {
    /// The one folder of all of them, if there is one.
    pub(super) fn folder(&self) -> Option<&Path> {
        match self {
            LocalFiles::Mirrored(folder) => Some(folder),
            LocalFiles::AsNamed => None,
        }
    }

    /// The local file to store, and as what.
    pub(super) fn source(
        &self,
        named: &Named,
        current: &Current,
        env: &Env,
    ) -> Result<(PathBuf, FilePath), PathError> {
        let folder = match self {
            LocalFiles::Mirrored(root) => {
                let path = named.stored(current)?;
                return Ok((root.join(path.as_str()), path));
            }
            LocalFiles::AsNamed => named.folder.as_deref().unwrap_or_default(),
        };
        let mut local = env.at(&from_home(Path::new(&named.name), env));
        // Whoever answers the two questions may mean the folder that the file is in here as well.
        let inside = env.at(Path::new(folder)).join(&named.name);
        if !local.is_file() && inside.is_file() {
            local = inside;
        }
        let name = local.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let path = current.folder(folder)?.join(name)?;
        Ok((local, path))
    }

    /// Where a stored file goes, and what is to be said about that.
    pub(super) fn target(&self, path: &FilePath, env: &Env) -> (PathBuf, Option<String>) {
        if let LocalFiles::Mirrored(root) = self {
            return (root.join(path.as_str()), None);
        }
        let name = path.name();
        let local = env.at(Path::new(name));
        if !local.exists() {
            return (local, Some(format!("It is in the current folder:  {name}")));
        }
        let other = retrieved_name(name);
        let remark = format!("{name} is there already and stays; this is  {other}");
        (env.at(Path::new(&other)), Some(remark))
    }
}

/// `photo.retrieved.jpg` for `photo.jpg`.
fn retrieved_name(name: &str) -> String {
    match name.rsplit_once('.') {
        Some((stem, ending)) if !stem.is_empty() => format!("{stem}.retrieved.{ending}"),
        _ => format!("{name}.retrieved"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::path::Component;

    fn named(name: &str, folder: Option<&str>) -> Named {
        Named { name: name.into(), folder: folder.map(str::to_owned) }
    }

    #[test]
    fn a_file_that_is_named_freely_is_stored_under_its_own_name() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("test")).unwrap();
        std::fs::write(folder.path().join("test/yeet.txt"), "").unwrap();
        let (env, _) = Env::fake(&[], "");
        let env = env.in_folder(folder.path());
        let there = folder.path().join("test/yeet.txt");
        for (name, place, stored) in [
            ("test/yeet.txt", None, "yeet.txt"),
            (there.to_str().unwrap(), Some("up"), "up/yeet.txt"),
            ("yeet.txt", Some("test"), "test/yeet.txt"),
        ] {
            let (local, path) =
                LocalFiles::AsNamed.source(&named(name, place), &Current::default(), &env).unwrap();
            assert_eq!((local, path.as_str()), (there.clone(), stored));
        }
        assert!(
            LocalFiles::AsNamed
                .source(&named("x", Some("../up")), &Current::default(), &env)
                .is_err()
        );
    }

    #[test]
    fn a_retrieved_file_replaces_none_that_the_user_has() {
        let folder = tempfile::tempdir().unwrap();
        let (env, _) = Env::fake(&[], "");
        let env = env.in_folder(folder.path());
        let path = FilePath::parse_rooted("up/photo.jpg").unwrap();
        let target = |env: &Env| LocalFiles::AsNamed.target(&path, env).0;
        assert_eq!(target(&env), folder.path().join("photo.jpg"));
        std::fs::write(folder.path().join("photo.jpg"), "mine").unwrap();
        assert_eq!(target(&env), folder.path().join("photo.retrieved.jpg"));
        assert_eq!(retrieved_name(".bashrc"), ".bashrc.retrieved");
    }

    proptest! {
        #[test]
        fn a_retrieved_file_stays_in_its_folder(text in "[a-z./~_é-]{0,16}|.{0,12}") {
            let folder = tempfile::tempdir().unwrap();
            let (env, _) = Env::fake(&[], "");
            let env = env.in_folder(folder.path());
            let Ok(path) = FilePath::parse_rooted(&text) else { return Ok(()) };
            let (local, _) = LocalFiles::AsNamed.target(&path, &env);
            prop_assert_eq!(local.parent(), Some(folder.path()));
            let mirrored = LocalFiles::Mirrored(folder.path().into()).target(&path, &env).0;
            let inside = mirrored.strip_prefix(folder.path()).unwrap();
            let is_plain = |part| matches!(part, Component::Normal(_));
            prop_assert!(inside.components().all(is_plain), "{:?}", inside);
        }
    }
}

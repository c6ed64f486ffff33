//! The stored folder that a session is in, and paths as they are seen from it.
//!
//! Invariant: no path leads out of the user's top folder; what would is refused, not cut.

use crate::core::path::{FilePath, FolderPath, PathError};

/// The folder that a session is in.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub(super) struct Current(FolderPath);

impl Current {
    /// The same session in another folder.
    pub(super) fn at(folder: FolderPath) -> Current {
        Current(folder)
    }

    /// The folder.
    pub(super) fn folder_itself(&self) -> &FolderPath {
        &self.0
    }

    /// The folder that is meant by this: counted from here, or from the top with a `/` before it. `.`
    /// is the same folder and `..` the one above.
    ///
    /// # Errors
    /// [`PathError`] if it is none, or lies outside of the top folder.
    pub(super) fn folder(&self, text: &str) -> Result<FolderPath, PathError> {
        let mut parts: Vec<&str> = Vec::new();
        if !text.starts_with('/') {
            parts.extend(self.0.as_str().split('/').filter(|part| !part.is_empty()));
        }
        let text = text.strip_prefix('/').unwrap_or(text);
        let text = text.strip_suffix('/').unwrap_or(text);
        for part in text.split('/') {
            match part {
                "" if text.is_empty() => {}
                "." => {}
                ".." => {
                    let above = parts.pop();
                    above.ok_or_else(|| PathError::Dots("..".into()))?;
                }
                part => parts.push(part),
            }
        }
        FolderPath::parse(&parts.join("/"))
    }

    /// The file that is meant by this.
    ///
    /// # Errors
    /// As [`Current::folder`], and for what can only be a folder.
    pub(super) fn file(&self, text: &str) -> Result<FilePath, PathError> {
        let is_folder = text.ends_with('/') || [".", ".."].contains(&last(text));
        if is_folder || text.is_empty() {
            // One message for what is no name, whatever else is wrong with it.
            return Err(FilePath::parse_rooted(text).err().unwrap_or(PathError::EmptyName));
        }
        FilePath::parse_rooted(self.folder(text)?.as_str())
    }

    /// A path as it is shown in the prompt: nothing at the top.
    pub(super) fn shown(&self) -> String {
        if self.0.is_top() { String::new() } else { format!("/{}", self.0) }
    }
}

fn last(text: &str) -> &str {
    text.rsplit('/').next().unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn current(text: &str) -> Current {
        Current::at(FolderPath::parse(text).unwrap())
    }

    #[test]
    fn paths_count_from_here_or_from_the_top() {
        let here = current("a/b");
        for (text, folder) in [
            ("", "a/b"),
            (".", "a/b"),
            ("..", "a"),
            ("../..", ""),
            ("/", ""),
            ("/x", "x"),
            ("x", "a/b/x"),
            ("x/", "a/b/x"),
            ("../x/./y", "a/x/y"),
            ("x/..", "a/b"),
        ] {
            assert_eq!(here.folder(text).unwrap().as_str(), folder, "{text}");
        }
        assert_eq!(here.file("../f").unwrap().as_str(), "a/f");
        assert_eq!(current("").file("/f").unwrap().as_str(), "f");
    }

    #[test]
    fn nothing_leads_out_of_the_top_folder() {
        assert!(matches!(current("a").folder("../.."), Err(PathError::Dots(_))));
        assert!(matches!(current("").folder("/.."), Err(PathError::Dots(_))));
        assert!(matches!(current("").file("../x"), Err(PathError::Dots(_))));
        for text in ["", "/", "..", "x/", "x//y", "a\nb"] {
            assert!(current("a").file(text).is_err(), "{text:?}");
        }
        assert!(current("").folder("x//y").is_err());
    }

    proptest! {
        #[test]
        fn a_path_that_is_understood_is_one_of_the_users(text in "[a./]{0,12}|.{0,8}") {
            for here in ["", "a", "a/b"] {
                if let Ok(folder) = current(here).folder(&text) {
                    prop_assert_eq!(FolderPath::parse_rooted(folder.as_str()), Ok(folder.clone()));
                    prop_assert!(!folder.as_str().split('/').any(|part| part == ".."));
                }
                if let Ok(file) = current(here).file(&text) {
                    prop_assert!(FilePath::parse_rooted(file.as_str()).is_ok());
                }
            }
        }
    }
}

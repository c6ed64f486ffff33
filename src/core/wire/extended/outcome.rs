//! What has come of a removal, a move or a copy, as the fields of the reply.

use crate::core::error::Result;
use crate::core::path::FilePath;
use crate::core::wire::extended::field;

/// A folder that has been removed, and what was in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Removed {
    /// How many folders, itself included.
    pub folders: u64,
    /// How many files.
    pub files: u64,
}

impl Removed {
    /// As lines of a reply.
    pub fn to_fields(self) -> Vec<String> {
        vec![format!("folders={}", self.folders), format!("files={}", self.files)]
    }

    /// Reads the lines of a reply.
    ///
    /// # Errors
    /// [`Error::Protocol`](crate::core::error::Error::Protocol) if one is missing.
    pub fn from_fields(fields: &[String]) -> Result<Removed> {
        Ok(Removed { folders: field(fields, "folders")?, files: field(fields, "files")? })
    }
}

/// A file or folder that has another place now, or one more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Moved {
    /// Its new path.
    pub to: FilePath,
    /// Is it a folder?
    pub is_folder: bool,
    /// How many files that are.
    pub files: u64,
    /// Was another file there, which is gone?
    pub replaced: bool,
}

impl Moved {
    /// As lines of a reply.
    pub fn to_fields(&self) -> Vec<String> {
        let Moved { to, is_folder, files, replaced } = self;
        vec![
            format!("to=/{}", to.as_str()),
            format!("folder={is_folder}"),
            format!("files={files}"),
            format!("replaced={replaced}"),
        ]
    }

    /// Reads the lines of a reply. The path in it is checked like any other.
    ///
    /// # Errors
    /// [`Error::Protocol`](crate::core::error::Error::Protocol) if one is missing or is no path.
    pub fn from_fields(fields: &[String]) -> Result<Moved> {
        let to: String = field(fields, "to")?;
        Ok(Moved {
            to: FilePath::parse_rooted(&to)
                .map_err(|why| super::Error::Protocol(format!("the new place is none: {why}")))?,
            is_folder: field(fields, "folder")?,
            files: field(fields, "files")?,
            replaced: field(fields, "replaced")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_survive_the_wire() {
        let removed = Removed { folders: 3, files: 0 };
        assert_eq!(Removed::from_fields(&removed.to_fields()).unwrap(), removed);
        let to = FilePath::parse_rooted("a/b=c").unwrap();
        let moved = Moved { to, is_folder: true, files: 7, replaced: false };
        assert_eq!(Moved::from_fields(&moved.to_fields()).unwrap(), moved);
    }

    #[test]
    fn what_is_no_outcome_is_not_believed() {
        let fields = |to: &str| {
            ["to=", "folder=yes", "files=1", "replaced=no"]
                .map(|line| if line == "to=" { format!("to={to}") } else { line.to_owned() })
                .to_vec()
        };
        assert!(Moved::from_fields(&fields("/../x")).is_err());
        assert!(Moved::from_fields(&fields("/a")).is_err(), "yes is no truth value here");
        assert!(Removed::from_fields(&["folders=-1".to_owned()]).is_err());
    }
}

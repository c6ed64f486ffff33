//! Uploads: what has come of a file that is not whole yet, and the requests about that. The bytes themselves
//! come with `STR` and `SND`.

use crate::core::error::{Error, Result};
use crate::core::path::FilePath;
use crate::core::types::{Digest, FileAttributes, Precondition, VersionId};
use crate::core::wire::extended::{attributes, options};

/// A request about uploads.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum UploadRequest {
    /// Begin one. Answered with its id.
    Begin {
        /// The file that it is for.
        path: FilePath,
        /// How long the file will be, if that is known.
        bytes: Option<u64>,
        /// What has to be there already now.
        precondition: Precondition,
        /// What the file is to keep of the one that is stored.
        attributes: FileAttributes,
    },
    /// How far is it? Answered with a [`PendingUpload`].
    Ask {
        /// Which.
        upload: VersionId,
    },
    /// All has come: it becomes the file. Answered like a store.
    Complete {
        /// Which.
        upload: VersionId,
        /// The digest of the whole.
        blake3: Digest,
        /// What has to be there.
        precondition: Precondition,
    },
    /// Drop it, with what has come.
    Drop {
        /// Which.
        upload: VersionId,
    },
    /// Which are there? Answered with [`PendingUpload`]s, the newest first.
    List {
        /// Only those for this file.
        path: Option<FilePath>,
    },
}

impl UploadRequest {
    /// Its opcode and fields.
    pub(super) fn to_lines(&self) -> Vec<String> {
        match self {
            UploadRequest::Begin { path, bytes, precondition, attributes } => {
                let mut lines = vec!["BEG".into(), format!("/{}", path.as_str())];
                lines.extend(bytes.map(|bytes| format!("bytes={bytes}")));
                lines.extend(options::of_precondition(*precondition));
                lines.extend(attributes::to_fields(*attributes));
                lines
            }
            UploadRequest::Ask { upload } => vec!["HOW".into(), upload.to_string()],
            UploadRequest::Complete { upload, blake3, precondition } => {
                let mut lines = vec!["CMP".into(), upload.to_string(), blake3.to_string()];
                lines.extend(options::of_precondition(*precondition));
                lines
            }
            UploadRequest::Drop { upload } => vec!["DRP".into(), upload.to_string()],
            UploadRequest::List { path } => {
                let path = path.as_ref().map(|path| format!("/{}", path.as_str()));
                ["UPL".to_owned()].into_iter().chain(path).collect()
            }
        }
    }

    /// The request with this opcode and these fields; `None` if it is another one.
    ///
    /// # Errors
    /// [`Error::Protocol`], [`Error::BadPath`] for fields that are none.
    pub(super) fn parse(fields: &[&str]) -> Result<Option<UploadRequest>> {
        Ok(Some(match fields {
            ["BEG", path, options @ ..] => {
                let path = FilePath::parse_rooted(path)?;
                let (attributes, mut options) = attributes::split_off(options)?;
                let bytes = take(&mut options, "bytes=")?;
                let precondition = options::precondition(&options)?;
                UploadRequest::Begin { path, bytes, precondition, attributes }
            }
            ["HOW", upload] => UploadRequest::Ask { upload: id(upload)? },
            ["CMP", upload, blake3, options @ ..] => {
                let bad = |_| Error::Protocol(format!("{blake3:?} is no digest"));
                UploadRequest::Complete {
                    upload: id(upload)?,
                    blake3: blake3.parse().map_err(bad)?,
                    precondition: options::precondition(options)?,
                }
            }
            ["DRP", upload] => UploadRequest::Drop { upload: id(upload)? },
            ["UPL"] => UploadRequest::List { path: None },
            ["UPL", path] => UploadRequest::List { path: Some(FilePath::parse_rooted(path)?) },
            _ => return Ok(None),
        }))
    }
}

/// An upload's id in a request.
///
/// # Errors
/// [`Error::Protocol`] if it is none.
pub(super) fn id(text: &str) -> Result<VersionId> {
    text.parse().map_err(|_| Error::Protocol(format!("{text:?} is no id of an upload")))
}

/// Takes the option with this key out of the others.
///
/// # Errors
/// [`Error::Protocol`] if it has no such value, or is there twice.
pub(super) fn take<T: std::str::FromStr>(options: &mut Vec<&str>, key: &str) -> Result<Option<T>> {
    let values: Vec<&str> = options.extract_if(.., |option| option.starts_with(key)).collect();
    match values.as_slice() {
        [] => Ok(None),
        [one] => {
            let bad = |_| Error::Protocol(format!("{one:?} has a value that it cannot have"));
            one[key.len()..].parse().map(Some).map_err(bad)
        }
        _ => Err(Error::Protocol(format!("the option {key} is there twice"))),
    }
}

/// An upload as it is told.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PendingUpload {
    /// Its id.
    pub id: VersionId,
    /// The file that it is for.
    pub path: FilePath,
    /// How long the file will be, if that is known.
    pub bytes: Option<u64>,
    /// How many bytes have come.
    pub arrived: u64,
    /// When it began, in milliseconds since 1970.
    pub begun_ms: i64,
    /// When it was last touched.
    pub touched_ms: i64,
    /// What the file is to keep of the one that is stored.
    pub attributes: FileAttributes,
    /// The digest of what has come, where it is asked for and known.
    pub blake3: Option<Digest>,
}

impl PendingUpload {
    /// As a line, its parts kept apart by tabs.
    pub fn encode(&self) -> String {
        let mut parts = vec![
            format!("/{}", self.path.as_str()),
            self.id.to_string(),
            self.arrived.to_string(),
            self.bytes.map_or("-".into(), |bytes| bytes.to_string()),
            self.begun_ms.to_string(),
            self.touched_ms.to_string(),
            self.blake3.map_or("-".into(), |blake3| blake3.to_string()),
        ];
        parts.extend(attributes::to_fields(self.attributes));
        parts.join("\t")
    }

    /// Reads a line.
    ///
    /// # Errors
    /// [`Error::Protocol`] if it is none.
    pub fn decode(line: &str) -> Result<PendingUpload> {
        let malformed = || Error::Protocol("a line about an upload has an unknown form".into());
        let parts: Vec<&str> = line.split('\t').collect();
        let [path, id, arrived, bytes, begun_ms, touched_ms, blake3, rest @ ..] = parts.as_slice()
        else {
            return Err(malformed());
        };
        let (attributes, rest) = attributes::split_off(rest)?;
        if !rest.is_empty() {
            return Err(malformed());
        }
        let optional = |text: &str| (text != "-").then(|| text.to_owned());
        let bytes = optional(bytes).map(|text| text.parse()).transpose();
        let blake3 = optional(blake3).map(|text| text.parse()).transpose();
        Ok(PendingUpload {
            id: id.parse().map_err(|_| malformed())?,
            path: FilePath::parse_rooted(path).map_err(|_| malformed())?,
            bytes: bytes.map_err(|_| malformed())?,
            arrived: arrived.parse().map_err(|_| malformed())?,
            begun_ms: begun_ms.parse().map_err(|_| malformed())?,
            touched_ms: touched_ms.parse().map_err(|_| malformed())?,
            attributes,
            blake3: blake3.map_err(|_| malformed())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::types::FileKind;
    use crate::core::wire::extended::Request;
    use crate::core::wire::lines;

    fn path(text: &str) -> FilePath {
        FilePath::parse_rooted(text).unwrap()
    }

    fn decoded(lines: &[&str]) -> Result<Request> {
        Request::decode(&lines.iter().map(|line| (*line).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn every_request_comes_back_as_it_was() {
        let upload = VersionId([7; 16]);
        let attributes = FileAttributes { modified_ms: Some(-5), kind: Some(FileKind::Executable) };
        let requests = [
            UploadRequest::Begin {
                path: path("/a/b"),
                bytes: Some(7),
                precondition: Precondition::Absent,
                attributes,
            },
            UploadRequest::Begin {
                path: path("/a"),
                bytes: None,
                precondition: Precondition::Any,
                attributes: FileAttributes::default(),
            },
            UploadRequest::Ask { upload },
            UploadRequest::Complete {
                upload,
                blake3: Digest([1; 32]),
                precondition: Precondition::Unchanged(upload),
            },
            UploadRequest::Drop { upload },
            UploadRequest::List { path: None },
            UploadRequest::List { path: Some(path("/x y")) },
        ];
        for request in requests {
            let request = Request::Upload(request);
            let encoded = request.encode();
            let (message, used) = lines::decode(&encoded, 4096).unwrap().unwrap();
            assert_eq!((Request::decode(&message).unwrap(), used), (request, encoded.len()));
        }
    }

    #[test]
    fn fields_that_are_none_are_refused() {
        for lines in [
            &["HOW"][..],
            &["HOW", "x"],
            &["CMP", "07070707070707070707070707070707", "zz"],
            &["BEG", "/a", "bytes=-1"],
            &["BEG", "/a", "bytes=1", "bytes=1"],
            &["BEG", "/a", "what=1"],
            &["UPL", "/a", "/b"],
            &["SND", "07070707070707070707070707070707", "1"],
        ] {
            assert!(matches!(decoded(lines), Err(Error::Protocol(_))), "{lines:?}");
        }
        assert!(matches!(decoded(&["BEG", "/../a"]), Err(Error::BadPath(_))));
    }

    #[test]
    fn an_upload_is_told_on_a_line() {
        let told = PendingUpload {
            id: VersionId([7; 16]),
            path: path("/a b/c"),
            bytes: Some(9),
            arrived: 4,
            begun_ms: -1,
            touched_ms: 2,
            attributes: FileAttributes { modified_ms: None, kind: Some(FileKind::Link) },
            blake3: Some(Digest([3; 32])),
        };
        assert_eq!(PendingUpload::decode(&told.encode()).unwrap(), told);
        let less = PendingUpload { bytes: None, blake3: None, ..told };
        assert_eq!(PendingUpload::decode(&less.encode()).unwrap(), less);
        assert!(PendingUpload::decode("x\ty").is_err());
    }
}

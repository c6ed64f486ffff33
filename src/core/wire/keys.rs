//! App passwords: what a program shows in place of its account's password. Each has an id that may be
//! seen, a secret that is told once, and may be for reading only or for one folder.

use std::fmt;
use std::str::FromStr;

use crate::core::error::{Error, Result};
use crate::core::path::FolderPath;
use crate::core::types::{KeyId, write_hex};

/// What a key is called, in bytes.
pub const KEY_NAME_BYTES_MAX: usize = 64;

/// 160 random bits that stand for a password, written as 40 hex digits. As with tokens there is no
/// [`fmt::Display`], and [`fmt::Debug`] hides them.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySecret(pub [u8; 20]);

impl KeySecret {
    /// The secret as it travels. To be handed to nobody but its owner.
    pub fn reveal(&self) -> String {
        struct Digits<'a>(&'a [u8]);
        impl fmt::Display for Digits<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write_hex(self.0, f)
            }
        }
        Digits(&self.0).to_string()
    }
}

impl FromStr for KeySecret {
    type Err = &'static str;

    fn from_str(text: &str) -> std::result::Result<KeySecret, &'static str> {
        const FORM: &str = "a secret has 40 hex digits";
        let (first, rest) = text.split_at_checked(20).ok_or(FORM)?;
        let parse = |half: &str| half.parse::<KeyId>().map_err(|_| FORM);
        let (first, rest) = (parse(first)?, parse(rest)?);
        let mut bytes = [0; 20];
        bytes[..10].copy_from_slice(&first.0);
        bytes[10..].copy_from_slice(&rest.0);
        Ok(KeySecret(bytes))
    }
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeySecret(hidden)")
    }
}

/// What may be done by whoever has signed in.
#[derive(Clone, PartialEq, Eq, Default, Debug)]
pub struct Rights {
    /// Nothing may be changed.
    pub read_only: bool,
    /// Only what is in this folder may be seen and changed; the top folder for everything.
    pub folder: FolderPath,
}

impl Rights {
    /// Is this path the folder that they are for, or in it?
    pub fn reach(&self, path: &FolderPath) -> bool {
        path.is_within(&self.folder)
    }

    /// As fields of a message.
    fn to_fields(&self) -> Vec<String> {
        let read_only = self.read_only.then(|| READ_ONLY.to_owned());
        let folder = (!self.folder.is_top()).then(|| format!("{FOLDER}/{}", self.folder.as_str()));
        read_only.into_iter().chain(folder).collect()
    }

    /// Reads fields of a message.
    fn of_fields(fields: &[&str]) -> Result<Rights> {
        let mut rights = Rights::default();
        for field in fields {
            match field.strip_prefix(FOLDER) {
                Some(folder) if rights.folder.is_top() => {
                    rights.folder = FolderPath::parse_rooted(folder)?;
                }
                None if *field == READ_ONLY && !rights.read_only => rights.read_only = true,
                _ => return Err(Error::Protocol(format!("{field:?} is no right of a key"))),
            }
        }
        Ok(rights)
    }
}

const READ_ONLY: &str = "read-only=yes";
const FOLDER: &str = "folder=";

/// A request about the account's keys.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum KeyRequest {
    /// Make one. Answered with its id and its secret.
    Make {
        /// What it is for, as its owner says.
        name: String,
        /// What it may be used for.
        rights: Rights,
    },
    /// Which are there? Answered with [`AppKey`]s, the oldest first.
    List,
    /// Delete one: whoever uses it is signed out.
    Delete {
        /// Which.
        key: KeyId,
    },
}

impl KeyRequest {
    /// Its opcode and fields.
    pub(in crate::core::wire) fn to_lines(&self) -> Vec<String> {
        match self {
            KeyRequest::Make { name, rights } => {
                let mut lines = vec!["KEY".into(), format!("name={name}")];
                lines.extend(rights.to_fields());
                lines
            }
            KeyRequest::List => vec!["KYS".into()],
            KeyRequest::Delete { key } => vec!["KYD".into(), key.to_string()],
        }
    }

    /// The request with this opcode and these fields; `None` if it is another one.
    ///
    /// # Errors
    /// [`Error::Protocol`], [`Error::BadPath`] for fields that are none.
    pub(in crate::core::wire) fn parse(fields: &[&str]) -> Result<Option<KeyRequest>> {
        Ok(Some(match fields {
            ["KEY", name, rights @ ..] => {
                let bad = || Error::Protocol("the request for a key has no name".into());
                let name = name.strip_prefix("name=").ok_or_else(bad)?.to_owned();
                KeyRequest::Make { name, rights: Rights::of_fields(rights)? }
            }
            ["KYS"] => KeyRequest::List,
            ["KYD", key] => {
                let bad = |_| Error::Protocol(format!("{key:?} is no key"));
                KeyRequest::Delete { key: key.parse().map_err(bad)? }
            }
            _ => return Ok(None),
        }))
    }
}

/// A key as it is told; without its secret, which nobody knows but its owner.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AppKey {
    /// Its id.
    pub key: KeyId,
    /// What it is for, as its owner says.
    pub name: String,
    /// What it may be used for.
    pub rights: Rights,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
    /// When it was last used, to the hour; when it was made if never.
    pub used_ms: i64,
}

impl AppKey {
    /// As a line, its parts kept apart by tabs.
    pub fn encode(&self) -> String {
        let mut parts = vec![
            self.key.to_string(),
            self.created_ms.to_string(),
            self.used_ms.to_string(),
            self.name.clone(),
        ];
        parts.extend(self.rights.to_fields());
        parts.join("\t")
    }

    /// Reads a line.
    ///
    /// # Errors
    /// [`Error::Protocol`] if it is none.
    pub fn decode(line: &str) -> Result<AppKey> {
        let malformed = || Error::Protocol("a line about a key has an unknown form".into());
        let parts: Vec<&str> = line.split('\t').collect();
        let [key, created_ms, used_ms, name, rights @ ..] = parts.as_slice() else {
            return Err(malformed());
        };
        Ok(AppKey {
            key: key.parse().map_err(|_| malformed())?,
            name: (*name).to_owned(),
            rights: Rights::of_fields(rights)?,
            created_ms: created_ms.parse().map_err(|_| malformed())?,
            used_ms: used_ms.parse().map_err(|_| malformed())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::wire::extended::Request;

    fn folder(text: &str) -> FolderPath {
        FolderPath::parse(text).unwrap()
    }

    fn rights(read_only: bool, at: &str) -> Rights {
        Rights { read_only, folder: folder(at) }
    }

    #[test]
    fn a_secret_is_read_back_and_never_shown() {
        let secret = KeySecret(std::array::from_fn(|n| u8::try_from(n).unwrap()));
        assert_eq!(secret.reveal(), "000102030405060708090a0b0c0d0e0f10111213");
        assert_eq!(secret.reveal().parse(), Ok(secret.clone()));
        assert_eq!(format!("{secret:?}"), "KeySecret(hidden)");
        for wrong in ["", "ab", &"ä".repeat(20), &"zz".repeat(20), &"ab".repeat(21)] {
            assert!(wrong.parse::<KeySecret>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn rights_for_a_folder_reach_what_is_in_it() {
        let of = rights(false, "a/b");
        for (path, reached) in
            [("a/b", true), ("a/b/c", true), ("a/bc", false), ("a", false), ("", false)]
        {
            assert_eq!(of.reach(&folder(path)), reached, "{path:?}");
            assert!(rights(true, "").reach(&folder(path)), "{path:?}");
        }
        assert_eq!(rights(false, ""), Rights::default());
        assert!(of != Rights::default() && rights(true, "") != Rights::default());
    }

    #[test]
    fn requests_and_keys_are_read_as_they_are_written() {
        for own in [rights(false, ""), rights(true, ""), rights(false, "a/b"), rights(true, "a")] {
            let make = KeyRequest::Make { name: "phone".into(), rights: own.clone() };
            let fields = make.to_lines();
            assert_eq!(Request::decode(&fields).unwrap(), Request::Keys(make));
            let name = "a phone".to_owned();
            let key = KeyId([7; 10]);
            let key = AppKey { key, name, rights: own, created_ms: -1, used_ms: 9 };
            assert_eq!(AppKey::decode(&key.encode()).unwrap(), key);
        }
        for request in [KeyRequest::List, KeyRequest::Delete { key: KeyId([7; 10]) }] {
            let fields = request.to_lines();
            assert_eq!(Request::decode(&fields).unwrap(), Request::Keys(request));
        }
        for wrong in [
            &["KEY"][..],
            &["KEY", "phone"],
            &["KEY", "name=x", "read-only=no"],
            &["KEY", "name=x", "read-only=yes", "read-only=yes"],
            &["KEY", "name=x", "folder=/a", "folder=/b"],
            &["KEY", "name=x", "folder=/../b"],
            &["KYS", "x"],
            &["KYD", "x"],
        ] {
            let fields: Vec<String> = wrong.iter().map(|field| (*field).to_owned()).collect();
            assert!(Request::decode(&fields).is_err(), "{wrong:?}");
        }
        for wrong in ["", "07\t1\t2\tname", "07070707070707070707\t1\tx\tname"] {
            assert!(AppKey::decode(wrong).is_err(), "{wrong}");
        }
    }
}

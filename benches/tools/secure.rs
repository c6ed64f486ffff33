//! A client as `palk client` is one: encrypted, with the digest of every file.

use palk::core::path::FilePath;
use palk::core::remote::{Remote, ToStore};
use palk::core::types::{FileAttributes, Precondition};

use super::cluster::{PASSWORD, USER};
use super::{Bytes, Counter};

pub(crate) fn signed_in(address: &str) -> Remote {
    let mut remote = Remote::connect(address).expect("a connection");
    remote.sign_in(USER, PASSWORD).expect("the sign-in");
    remote
}

pub(crate) fn path(text: &str) -> FilePath {
    FilePath::parse_rooted(text).expect("a path")
}

pub(crate) fn store(remote: &mut Remote, path: &FilePath, bytes: u64) {
    let (precondition, attributes) = (Precondition::Any, FileAttributes::default());
    let wanted = ToStore { path, bytes, precondition, attributes, keep: None };
    remote.store(&wanted, &mut Bytes::new(bytes), &mut |_| {}).expect("a store");
}

pub(crate) fn retrieve(remote: &mut Remote, path: &FilePath, bytes: u64) {
    let mut out = Counter::default();
    remote.retrieve(path, &Default::default(), &mut out, &mut |_| {}).expect("a retrieve");
    assert_eq!(out.0, bytes);
}

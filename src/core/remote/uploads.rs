//! Uploads that go on where they broke off, seen from the client.

use std::io::Read;

use super::store::{Sending, Watch, in_answer};
use super::{Digester, LONG_ANSWER, Remote, Stored, in_doubt};
use crate::core::error::{Error, Result};
use crate::core::path::FilePath;
use crate::core::types::{Digest, FileAttributes, Precondition, VersionId};
use crate::core::wire::extended::{PendingUpload, Request, UploadRequest, field};

impl Remote {
    /// Begins an upload. Gives its id.
    ///
    /// # Errors
    /// As [`Remote::store`].
    pub fn begin_upload(
        &mut self,
        path: &FilePath,
        bytes: Option<u64>,
        precondition: Precondition,
        attributes: FileAttributes,
    ) -> Result<VersionId> {
        let path = path.clone();
        let begin = UploadRequest::Begin { path, bytes, precondition, attributes };
        let fields = self.change(&Request::Upload(begin))?;
        let id = field(&fields, "upload");
        self.keep(id)
    }

    /// How far an upload is.
    ///
    /// # Errors
    /// [`Code::NoSuchFile`](crate::core::error::Code::NoSuchFile) if there is no such upload; those of any
    /// request.
    pub fn upload(&mut self, upload: VersionId) -> Result<PendingUpload> {
        let lines = self.lines_of(&Request::Upload(UploadRequest::Ask { upload }))?;
        let told = match lines.as_slice() {
            [line] => PendingUpload::decode(line),
            _ => Err(Error::Protocol("the server told of no upload".into())),
        };
        self.keep(told)
    }

    /// The user's uploads, the newest first; with a path only those for that file.
    ///
    /// # Errors
    /// Those of any request.
    pub fn uploads(&mut self, path: Option<&FilePath>) -> Result<Vec<PendingUpload>> {
        let path = path.cloned();
        let lines = self.lines_of(&Request::Upload(UploadRequest::List { path }))?;
        let read = lines.iter().map(|line| PendingUpload::decode(line)).collect();
        self.keep(read)
    }

    /// Sends the rest of the file from where the source is, which is `arrived` bytes into it. `hasher` has
    /// had those, and gives the digest of the whole. `watch` is called as acknowledgements arrive.
    ///
    /// # Errors
    /// [`Code::Changed`](crate::core::error::Code::Changed) if the upload is not as far, or further; those
    /// of [`Remote::store`].
    pub fn send_rest(
        &mut self,
        upload: &PendingUpload,
        total: u64,
        hasher: Digester,
        source: &mut dyn Read,
        watch: Watch<'_>,
    ) -> Result<Digest> {
        let offset = upload.arrived;
        self.request(&Request::Send { upload: upload.id, offset, bytes: total - offset })?;
        let mut sending = Sending { total, sent: offset, acknowledged: offset };
        let digest = self.send_file(&mut sending, hasher, source, watch)?;
        let message = self.await_answer(&mut sending, watch)?;
        let fields = self.reply(&message)?;
        let arrived: u64 = field(&fields, "arrived")?;
        match arrived == total {
            true => Ok(digest),
            false => Err(Error::Protocol("the server has another part of the upload".into())),
        }
    }

    /// Makes an upload a file. Its digest has to be this one.
    ///
    /// # Errors
    /// [`Code::Damaged`](crate::core::error::Code::Damaged) if it is another one: the upload stays; those
    /// of [`Remote::store`].
    pub fn complete_upload(
        &mut self,
        upload: VersionId,
        blake3: Digest,
        precondition: Precondition,
    ) -> Result<Stored> {
        let request = Request::Upload(UploadRequest::Complete { upload, blake3, precondition });
        let fields = self.change_within(&request, &LONG_ANSWER)?;
        in_answer(&fields)
    }

    /// Drops an upload with what has come.
    ///
    /// # Errors
    /// As [`Remote::upload`].
    pub fn drop_upload(&mut self, upload: VersionId) -> Result<()> {
        self.change(&Request::Upload(UploadRequest::Drop { upload })).map(drop).map_err(in_doubt)
    }
}

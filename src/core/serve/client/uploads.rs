//! What the client door does about uploads, but for receiving their bytes.

use std::time::Instant;

use crate::core::error::Result;
use crate::core::path::FolderPath;
use crate::core::serve::client::Connection;
use crate::core::serve::files::{Files, User};
use crate::core::serve::meter::Verb;
use crate::core::session::Stored;
use crate::core::wire::extended::{PendingUpload, UploadRequest};

impl Connection<'_> {
    /// Answers a request about uploads.
    pub(super) fn upload(&mut self, request: &UploadRequest) {
        let begun = Instant::now();
        let files = &self.door.files;
        let outcome = self.user().and_then(|user| answer(files, user, request));
        let (what, path) = described(request);
        self.tell(Verb::Upload, what, &path, begun, &outcome);
        match outcome {
            Ok(Answer::Lines(lines)) => self.session.history_told(Ok(lines)),
            Ok(Answer::Stored(stored)) => self.session.upload_completed(Ok(stored)),
            Err(error) => match request {
                UploadRequest::Complete { .. } => self.session.upload_completed(Err(error)),
                _ => self.session.history_told(Err(error)),
            },
        }
    }
}

enum Answer {
    Lines(Vec<String>),
    Stored(Stored),
}

fn answer(files: &Files, user: &User, request: &UploadRequest) -> Result<Answer> {
    Ok(Answer::Lines(match request {
        UploadRequest::Begin { path, bytes, precondition, attributes } => {
            let id = files.begin_upload(user, path, *bytes, *precondition, *attributes)?;
            vec![format!("upload={id}")]
        }
        UploadRequest::Ask { upload } => vec![files.upload(user, *upload)?.encode()],
        UploadRequest::Complete { upload, blake3, precondition } => {
            let (stored, digest) =
                files.complete_upload(user, *upload, Some(*blake3), *precondition)?;
            let (version, nodes) = (stored.version, stored.nodes);
            return Ok(Answer::Stored(Stored { version, digest, nodes }));
        }
        UploadRequest::Drop { upload } => {
            files.drop_upload(user, *upload)?;
            Vec::new()
        }
        UploadRequest::List { path } => {
            files.uploads(user, path.as_ref())?.iter().map(PendingUpload::encode).collect()
        }
    }))
}

/// What it is called in the log, and what it is about.
fn described(request: &UploadRequest) -> (&'static str, FolderPath) {
    let top = FolderPath::top();
    match request {
        UploadRequest::Begin { path, .. } => ("upload begun", path.as_folder()),
        UploadRequest::Ask { .. } => ("upload asked for", top),
        UploadRequest::Complete { .. } => ("upload completed", top),
        UploadRequest::Drop { .. } => ("upload dropped", top),
        UploadRequest::List { path } => {
            ("uploads listed", path.as_ref().map_or(top, |path| path.as_folder()))
        }
    }
}

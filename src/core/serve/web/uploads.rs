//! Uploads that go on where they broke off, for the page: begun, sent part by part, completed or given up.

use hyper::StatusCode;
use hyper::body::Incoming;

use super::api::{as_json, not_for_this, told};
use super::asked::{Asked, Done, Outcome};
use super::body::Pieces;
use super::put::receive;
use crate::core::error::{Error, Result};
use crate::core::path::FilePath;
use crate::core::types::{FileAttributes, Precondition, VersionId};
use crate::core::wire::web::form::Form;
use crate::core::wire::web::json::{Begun, Upload};

/// What has to be there: nothing, if the file is said to be a new one.
fn precondition(form: &Form) -> Precondition {
    if form.get("new").is_some() { Precondition::Absent } else { Precondition::Any }
}

impl Asked {
    pub(super) fn begin_upload(&self, form: &Form) -> Outcome {
        let path = self.file()?;
        self.guard_name(&self.path, &[])?;
        let attributes = FileAttributes { modified_ms: form.number("modified")?, kind: None };
        let bytes = form.number("bytes")?;
        let id =
            self.files().begin_upload(&self.user, &path, bytes, precondition(form), attributes)?;
        Ok(as_json(StatusCode::CREATED, &Begun { id: id.to_string() })?.into())
    }

    pub(super) fn tell_uploads(&self) -> Outcome {
        let uploads = self.files().uploads(&self.user, None)?;
        let seen = |path: &FilePath| self.seen(&path.as_folder());
        let all: Vec<_> =
            uploads.iter().map(|own| Upload::of(own, seen(&own.path).as_str())).collect();
        told(&all)
    }

    /// What is asked for of one upload.
    pub(super) async fn upload(&mut self, form: &Form, body: &mut Incoming) -> Outcome {
        let id = self.upload_id()?;
        let upload = self.files().upload(&self.user, id)?;
        self.path = upload.path.as_folder();
        match self.head.method.as_str() {
            "GET" | "HEAD" => {
                let seen = self.seen(&self.path);
                told(&Upload::of(&upload, seen.as_str()))
            }
            "PUT" => self.send_part(id, form, body).await,
            "POST" => {
                self.guard_name(&self.path, &[])?;
                let (stored, _) =
                    self.files().complete_upload(&self.user, id, None, precondition(form))?;
                let (bytes, nodes) = (Some(upload.arrived), Some(stored.nodes));
                Ok(Done { bytes, nodes, ..Done::from(StatusCode::CREATED) })
            }
            "DELETE" => {
                self.files().drop_upload(&self.user, id)?;
                Ok(StatusCode::NO_CONTENT.into())
            }
            _ => Err(not_for_this()),
        }
    }

    fn upload_id(&self) -> Result<VersionId> {
        let digits = self.head.uri.path().rsplit('/').next().unwrap_or_default();
        digits.parse().map_err(|_| Error::Protocol("the address names no upload".into()))
    }

    /// Takes bytes of an upload. Of a body that breaks off, what has come is kept to the last full MiB.
    async fn send_part(&mut self, id: VersionId, form: &Form, body: &mut Incoming) -> Outcome {
        let missing = |what: &str| Error::Protocol(format!("it is not said {what}"));
        let offset = form.number("offset")?.ok_or_else(|| missing("where the bytes belong"))?;
        let bytes = self.announced()?.ok_or_else(|| missing("how many bytes will come"))?;
        let mut store = self.files().send(&self.user, id, offset, bytes)?;
        let nodes = Some(store.targets());
        let mut pieces = Pieces::of(body, format!("client {}", self.visit.peer));
        match receive(&mut store, &mut pieces).await {
            Ok(()) => store.finish_part()?,
            Err(error) => {
                if let Err(lost) = store.keep() {
                    tracing::info!("what has come of /{} is not kept: {lost}", self.path);
                }
                return Err(error.into());
            }
        }
        Ok(Done { bytes: Some(bytes), nodes, ..Done::from(StatusCode::NO_CONTENT) })
    }
}

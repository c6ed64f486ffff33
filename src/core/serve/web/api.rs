//! What the page's script asks for besides WebDAV, and is answered in JSON.
//!
//! ```text
//!   GET    /api/account                      who has signed in, quota and room
//!   GET    /api/list/PATH/  ?after= &at=     some of what is in a folder, now or then
//!   GET    /api/versions/PATH                what a path was
//!   GET    /api/deleted/PATH/                what was in a folder
//!   GET    /api/old/PATH    ?version= ?at=   the bytes of what a file was
//!   POST   /api/undo/PATH                    the last change taken back
//!   POST   /api/restore/PATH ?version= ?at=  what a path was then, again; with &look only what that would be
//!   GET    /api/zip/PATH/   ?name= &at=      a folder, or some of it, as an archive; POST with the same in a form
//!   POST   /api/uploads/PATH ?bytes= &modified= &new      an upload begun
//!   GET    /api/uploads/                     those that are not whole
//!   GET    /api/upload/ID                    how far one is
//!   PUT    /api/upload/ID   ?offset=         bytes of it
//!   POST   /api/upload/ID   ?new             it is whole: the file
//!   DELETE /api/upload/ID                    it is given up
//!   GET    /api/status                       how the cluster is      these are for administrators
//!   POST   /api/scrub, DELETE /api/scrub     a scrub begun, ended
//!   POST   /api/repair                       all that is missing tried now
//! ```
//!
//! An error has the header `palk-error` with its code, and a text for people.

use hyper::body::Incoming;
use hyper::header;
use hyper::{Method, StatusCode};
use serde::Serialize;

use super::asked::{Asked, Outcome, Refusal, Service};
use super::{Visit, nothing_here, set};
use crate::core::error::{Code, Error, Result};
use crate::core::io::http::{self, Request, Response};
use crate::core::serve::meter::Verb;
use crate::core::status::Status;
use crate::core::types::WRITE_QUORUM;
use crate::core::wire::extended::When;
use crate::core::wire::web::form::Form;
use crate::core::wire::web::json;

/// Where it begins in addresses.
pub(super) const API: &str = "/api/";

impl Visit {
    /// Answers a script of the page.
    pub(super) async fn api(&self, request: Request) -> Response {
        let path = request.uri().path();
        let what = path.strip_prefix(API).unwrap_or_default();
        let what = what.split('/').next().unwrap_or_default().to_owned();
        if what.is_empty() {
            return nothing_here();
        }
        let root = format!("{API}{what}/");
        let service = Service {
            root: &root,
            named: named(&what, request.method()),
            verbs: "GET, HEAD, POST, PUT, DELETE",
        };
        self.ask(request, service, async |asked: &mut Asked, body: &mut Incoming| {
            asked.api(&what, body).await
        })
        .await
    }
}

/// What is asked for, as the log has it.
fn named(what: &str, method: &Method) -> (Verb, &'static str) {
    match (what, method.as_str()) {
        ("versions", _) => (Verb::History, "versions listed"),
        ("deleted", _) => (Verb::History, "deleted names listed"),
        ("old", _) => (Verb::Retrieve, "retrieved"),
        ("undo", _) => (Verb::History, "last change undone"),
        ("restore", _) => (Verb::History, "set back"),
        ("zip", _) => (Verb::Retrieve, "archive made"),
        ("uploads", "POST") => (Verb::Upload, "upload begun"),
        ("uploads", _) => (Verb::Upload, "uploads listed"),
        ("upload", "PUT") => (Verb::StorePart, "part stored"),
        ("upload", "POST") => (Verb::Upload, "upload completed"),
        ("upload", "DELETE") => (Verb::Upload, "upload dropped"),
        ("upload", _) => (Verb::Upload, "upload asked for"),
        ("status", _) => (Verb::Status, "status asked for"),
        ("scrub", "DELETE") => (Verb::Status, "scrub ended"),
        ("scrub", _) => (Verb::Status, "scrub begun"),
        ("repair", _) => (Verb::Status, "repair begun"),
        ("account", _) => (Verb::Status, "account asked for"),
        _ => (Verb::List, "listed"),
    }
}

/// An answer in JSON.
pub(super) fn as_json<T: Serialize>(status: StatusCode, value: &T) -> Result<Response> {
    let mut response = http::text(status, json::encode(value)?);
    set(&mut response, header::CONTENT_TYPE, "application/json");
    set(&mut response, header::CACHE_CONTROL, "no-store");
    Ok(response)
}

/// The same where all went well.
pub(super) fn told<T: Serialize>(value: &T) -> Outcome {
    Ok(as_json(StatusCode::OK, value)?.into())
}

impl Asked {
    async fn api(&mut self, what: &str, body: &mut Incoming) -> Outcome {
        let form = Form::decode(self.head.uri.query().unwrap_or_default())?;
        let method = self.head.method.clone();
        match (method.as_str(), what) {
            ("GET" | "HEAD", "account") => self.tell_account(),
            ("GET" | "HEAD", "list") => self.list(&form),
            ("GET" | "HEAD", "versions") => self.tell_versions(),
            ("GET" | "HEAD", "deleted") => self.tell_deleted(),
            ("GET" | "HEAD", "old") => self.read_old(&form),
            ("POST", "undo") => self.undo(),
            ("POST", "restore") => self.restore(&form),
            ("GET", "zip") => self.zip(&form),
            ("POST", "zip") => {
                let form = self.zip_form(body).await?;
                self.zip(&form)
            }
            ("POST", "uploads") => self.begin_upload(&form),
            ("GET" | "HEAD", "uploads") => self.tell_uploads(),
            (_, "upload") => self.upload(&form, body).await,
            ("GET" | "HEAD", "status") => self.tell_status(),
            ("POST", "scrub") => self.begin_scrub(),
            ("DELETE", "scrub") => self.end_scrub(),
            ("POST", "repair") => self.repair(),
            (_, what) if KNOWN.contains(&what) => Err(not_for_this()),
            _ => {
                let status = StatusCode::NOT_FOUND;
                Err(Refusal::of(status, Code::NoSuchFile, "there is nothing at this address"))
            }
        }
    }

    fn tell_account(&self) -> Outcome {
        let files = self.files();
        let usage = files.usage(&self.user)?;
        let status = self.visit.web.backend.operator.status_for_users()?;
        let account = json::Account {
            user: self.user.name.to_string(),
            is_admin: files.is_admin(&self.user)?,
            keeps: files.keeps_what_was(),
            files: 0,
            bytes: 0,
            kept_bytes: 0,
            quota_bytes: None,
            file_bytes_max: files.file_bytes_max(),
            state: status.state,
            can_store: status.can_store,
            nodes_to_spare: status.nodes_to_spare,
            nodes_up: files.nodes_up(),
            room_bytes: room_bytes(&status),
        };
        told(&account.using(usage))
    }
}

const KNOWN: [&str; 12] = [
    "account", "list", "versions", "deleted", "old", "undo", "restore", "zip", "uploads", "status",
    "scrub", "repair",
];

pub(super) fn not_for_this() -> Refusal {
    Refusal::of(StatusCode::METHOD_NOT_ALLOWED, Code::Usage, "not for this address")
}

/// The time that is asked for; `None` for now.
///
/// # Errors
/// [`Error::Protocol`] if it is none.
pub(super) fn when(form: &Form) -> Result<Option<When>> {
    form.get("at").filter(|text| !text.is_empty()).map(When::parse).transpose()
}

/// A file has half of its bytes on each of at least three nodes, so the third of them in room decides.
fn room_bytes(status: &Status) -> Option<u64> {
    let mut spare: Vec<u64> =
        status.nodes.iter().filter_map(|node| Some(node.room?.spare_bytes)).collect();
    spare.sort_unstable_by(|one, other| other.cmp(one));
    spare.get(WRITE_QUORUM - 1).map(|bytes| bytes.saturating_mul(2))
}

/// Refuses whoever is no administrator.
///
/// # Errors
/// [`Code::NotAllowed`].
pub(super) fn check_admin(asked: &Asked) -> Result<()> {
    match asked.files().is_admin(&asked.user)? {
        true => Ok(()),
        false => Err(Error::other(Code::NotAllowed, "this is for administrators of the server")),
    }
}

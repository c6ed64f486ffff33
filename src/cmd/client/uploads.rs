//! `palk client uploads`: transfers to the server that broke off and can go on.

use clap::Args;
use serde_json::json;

use super::advice;
use super::connection::Connection;
use super::settings::Common;
use super::tally::Tally;
use super::transfer::rooted;
use crate::cmd::env::{Env, size};
use crate::cmd::failure::Stop;
use crate::cmd::when;
use crate::core::error::{Code, Error};
use crate::core::path::printable;
use crate::core::remote::Remote;
use crate::core::types::{Moment, VersionId};
use crate::core::wire::extended::PendingUpload;

/// List the uploads that broke off and can go on, or drop some
#[derive(Args, Debug)]
pub(super) struct Uploads {
    /// Drop these, by their ids as they are listed
    #[arg(long, value_name = "ID", num_args = 1.., conflicts_with = "drop_all")]
    drop: Vec<String>,

    /// Drop all
    #[arg(long)]
    drop_all: bool,
}

/// So many digits tell one upload from the others.
const ID_DIGITS: usize = 10;

impl Uploads {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let failed = |error: &Error| advice::failure("cannot list your uploads", error);
        let mut connection = Connection::open(common, env)?;
        let uploads = connection.remote()?.uploads(None).map_err(|error| failed(&error))?;
        if self.drop.is_empty() && !self.drop_all {
            return list(&uploads, env);
        }
        let wanted: Vec<String> = match self.drop_all {
            true => uploads.iter().map(|upload| upload.id.to_string()).collect(),
            false => self.drop,
        };
        let mut tally = Tally::new(wanted.len());
        for text in wanted {
            match drop_one(connection.remote()?, &uploads, &text) {
                Ok(upload) => {
                    let line = format!(
                        "Dropped the upload of {}  {}",
                        printable(upload.path.as_str()),
                        size(upload.arrived)
                    );
                    tally.done(env, &[line], object(upload))?;
                }
                Err(error) => {
                    let what = format!("cannot drop the upload {text}");
                    tally.failed(env, &text, advice::failure(&what, &error))?;
                }
            }
        }
        tally.finish(env)
    }
}

fn drop_one<'a>(
    remote: &mut Remote,
    uploads: &'a [PendingUpload],
    text: &str,
) -> Result<&'a PendingUpload, Error> {
    let digits = text.to_ascii_lowercase();
    let mut found = uploads.iter().filter(|own| own.id.to_string().starts_with(&digits));
    let (Some(upload), None) = (found.next(), found.next()) else {
        let text = "there is no such upload, or several whose ids begin so";
        return Err(Error::other(Code::NoSuchFile, text));
    };
    remote.drop_upload(upload.id)?;
    Ok(upload)
}

/// Shows what waits.
///
/// # Errors
/// Those of printing.
pub(super) fn list(uploads: &[PendingUpload], env: &mut Env) -> Result<(), Stop> {
    if env.manner().json {
        for upload in uploads {
            env.json("item", object(upload))?;
        }
        return env.json("result", json!({"code": 0, "uploads": uploads.len()}));
    }
    if uploads.is_empty() {
        env.note("No upload waits.");
        return Ok(());
    }
    env.data(&format!("{:10}  {:>9}  {:>9}  {:19}  file", "id", "here", "of", "last touched"))?;
    uploads.iter().try_for_each(|upload| env.data(&row(upload)))?;
    env.note(
        "The same store goes on with them. An upload is dropped a day after it was last touched.",
    );
    Ok(())
}

fn short(id: VersionId) -> String {
    let id = id.to_string();
    id.get(..ID_DIGITS).unwrap_or(&id).to_owned()
}

fn row(upload: &PendingUpload) -> String {
    let of = upload.bytes.map_or("?".to_owned(), size);
    let touched = when::shown(Moment(upload.touched_ms.saturating_mul(1000)));
    let path = printable(upload.path.as_str());
    format!("{:10}  {:>9}  {of:>9}  {touched:19}  {path}", short(upload.id), size(upload.arrived))
}

fn object(upload: &PendingUpload) -> serde_json::Value {
    json!({"code": 0, "upload": upload.id.to_string(), "path": rooted(&upload.path),
           "arrived": upload.arrived, "bytes": upload.bytes, "begun_ms": upload.begun_ms,
           "touched_ms": upload.touched_ms})
}

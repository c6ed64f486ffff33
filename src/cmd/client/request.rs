//! `palk client request HOST PORT FILE`: one file from a server that speaks the file request. Nobody
//! signs in for it, and nothing is encrypted.

use std::path::Path;

use clap::Args;
use serde_json::json;

use super::place::{Existing, Place};
use super::settings::Common;
use crate::cmd::env::Env;
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::{Code, Error};
use crate::core::path::printable;
use crate::core::remote::request::{Requested, request};
use crate::core::wire::request::NAME_BYTES_MAX;

/// Get a file from a door of kind "request"; no account is needed
#[derive(Args, Debug)]
pub(super) struct Request {
    /// The server's name or address
    #[arg(value_name = "HOST")]
    host: String,

    /// Its port, 1024 to 64000
    #[arg(value_name = "PORT", value_parser = clap::value_parser!(u16).range(1024..=64000))]
    port: u16,

    /// The file there; it is written to the current folder under its own name, and must not be there
    #[arg(value_name = "FILE")]
    file: String,
}

impl Request {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let shown = printable(&self.file);
        let what = format!("cannot get {shown}");
        let target = env.at(Path::new(self.name()?));
        let address = match self.host.contains(':') && !self.host.starts_with('[') {
            true => format!("[{}]:{}", self.host, self.port),
            false => format!("{}:{}", self.host, self.port),
        };
        let failed = |error: Error| match error.code() {
            Code::Exists => Failure::new(Code::LocalFile, format!("{what}: {error}"))
                .hint("Move it away first; nothing was written."),
            _ => Failure::of(&what, &error).hint("No file was written."),
        };
        let place = Place::create(&target, false, Existing::Kept, env.interrupts());
        let mut place = place.map_err(failed)?;
        match request(&address, &self.file, &mut place).map_err(failed)? {
            Requested::Whole(bytes) => {
                place.keep().map_err(failed)?;
                if common.json {
                    let object = json!({"code": 0, "path": self.file, "bytes": bytes});
                    return env.json("result", object);
                }
                env.note(&format!("Download succeed: {shown}, {bytes} bytes"));
                Ok(())
            }
            Requested::Missing => {
                let text = format!("{what}: the server has no such file, or cannot read it");
                Err(Failure::new(Code::NoSuchFile, text).hint("No file was written.").into())
            }
        }
    }

    /// What the file is called here: the last part of its path.
    fn name(&self) -> Result<&str, Failure> {
        if !(1..=NAME_BYTES_MAX).contains(&self.file.len()) {
            let text = format!("the name of a file has 1 to {NAME_BYTES_MAX} bytes here");
            return Err(Failure::new(Code::Usage, text).hint("Nothing was sent."));
        }
        match self.file.rsplit('/').next() {
            Some(name) if !["", ".", ".."].contains(&name) => Ok(name),
            _ => {
                let text = format!("{:?} names no file", printable(&self.file));
                Err(Failure::new(Code::Usage, text).hint("Nothing was sent."))
            }
        }
    }
}

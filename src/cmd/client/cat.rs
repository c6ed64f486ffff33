//! `palk client cat PATH...` and `head -c N PATH`: stored files, or the beginning of one, to standard output.

use std::io::ErrorKind;

use clap::Args;

use super::advice;
use super::glob::{self, Meant, Named};
use super::settings::Common;
use super::tally::Tally;
use crate::cmd::completions::STORED;
use crate::cmd::env::Env;
use crate::cmd::failure::{Failure, Stop};
use crate::cmd::{parse_bytes, when};
use crate::core::error::{Code, Error, Result};
use crate::core::path::FilePath;
use crate::core::range::ByteRange;
use crate::core::remote::{Remote, Selection};
use crate::core::wire::extended::{Entry, When, Which};

/// Write files to standard output, one behind the other
///
/// They are checked as "rtv" checks them. What fails half-way ends with an error after what was written. A
/// PATH may be a pattern in quotes ("log/2026-*"): then all files that match it are meant, in their order.
#[derive(Args, Debug)]
pub(super) struct Cat {
    /// Stored files, as "inf" shows them, or patterns
    #[arg(required = true, value_name = "PATH", value_hint = STORED)]
    paths: Vec<String>,

    /// As they were at this time: "2h ago", "yesterday 18:00", RFC 3339, or a snapshot's name
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    at: Option<When>,
}

impl Cat {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> std::result::Result<(), Stop> {
        let wanted = Selection { which: which(self.at.clone()), range: None };
        write_out(&self.paths, self.at.as_ref(), common, env, &mut |remote, path, env| {
            remote.retrieve(path, &wanted, &mut env.out(), &mut |_| {}).map(drop)
        })
    }
}

/// Write the first bytes of a file to standard output
///
/// Only what is needed is read.
#[derive(Args, Debug)]
pub(super) struct Head {
    /// So many bytes: 4096, 10kB, 1MiB; all of a file that has fewer
    #[arg(short = 'c', long = "bytes", value_name = "N", value_parser = parse_bytes)]
    bytes: u64,

    /// A stored file
    #[arg(value_name = "PATH", value_hint = STORED)]
    path: String,

    /// As it was at this time: "2h ago", "yesterday 18:00", RFC 3339, or a snapshot's name
    #[arg(long, value_name = "TIME", value_parser = when::parse)]
    at: Option<When>,
}

impl Head {
    pub(super) fn run(self, common: &Common, env: &mut Env) -> std::result::Result<(), Stop> {
        let Some(last) = self.bytes.checked_sub(1) else {
            let at = self.at.as_ref();
            return write_out(&[self.path], at, common, env, &mut |remote, path, _| match remote
                .look_at(&path.as_folder(), self.at.clone())?
            {
                Entry::File(_) => Ok(()),
                Entry::Folder(_) => Err(Error::NoSuchFile(path.clone())),
            });
        };
        let range = Some(ByteRange::From { first: 0, last: Some(last) });
        let wanted = Selection { which: which(self.at.clone()), range };
        write_out(&[self.path], self.at.as_ref(), common, env, &mut |remote, path, env| {
            match remote.retrieve(path, &wanted, &mut env.out(), &mut |_| {}) {
                // An empty file has no first byte.
                Err(Error::Remote { code: Code::Usage, .. }) => Ok(()),
                done => done.map(drop),
            }
        })
    }
}

fn which(at: Option<When>) -> Which {
    at.map_or(Which::Current, Which::At)
}

/// Writes something of each file.
type Write<'a> = &'a mut dyn FnMut(&mut Remote, &FilePath, &Env) -> Result<()>;

fn write_out(
    paths: &[String],
    at: Option<&When>,
    common: &Common,
    env: &mut Env,
    write: Write<'_>,
) -> std::result::Result<(), Stop> {
    if common.json {
        let text = "standard output cannot be the file and the JSON";
        let hint = "For both:  palk client rtv --to FILE --json";
        return Err(Failure::new(Code::Usage, text).hint(hint).into());
    }
    let (mut connection, jobs) = glob::open(paths, Meant::Files, at, common, env)?;
    let mut tally = Tally::new(jobs.len());
    for Named { text, path, .. } in jobs {
        let written = path.and_then(|path| {
            let connection = connection.as_mut().ok_or(Error::NotSignedIn)?;
            write(connection.remote()?, &path, env)
        });
        match written {
            // Whoever reads the bytes wants nothing else.
            Ok(()) => tally.done(env, &[], serde_json::Value::Null)?,
            Err(Error::Io { source, .. }) if source.kind() == ErrorKind::BrokenPipe => {
                return Err(Stop::ReaderGone);
            }
            Err(error) => {
                let why = advice::failure(&format!("cannot retrieve {text}"), &error);
                tally.failed(env, &text, why)?;
            }
        }
    }
    tally.finish(env)
}

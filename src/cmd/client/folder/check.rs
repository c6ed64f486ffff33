//! `check`: in what a local tree and a stored one differ.

use std::path::Path;

use serde_json::json;

use super::super::advice;
use super::super::connection::Connection;
use super::super::settings::Common;
use super::Filter;
use super::compare::{By, Item, Kind};
use super::judge::Verdict;
use super::sides::Listing;
use super::trees::Trees;
use crate::cmd::env::{Bar, Env, plural};
use crate::cmd::failure::{Failure, Stop};
use crate::core::error::Code;
use crate::core::path::FolderPath;

/// What was found, by kind.
#[derive(Clone, Copy, Default, Debug)]
struct Tally {
    same: u64,
    only_here: u64,
    only_there: u64,
    different: u64,
    failed: u64,
}

/// Compares them by the digests of their files, and tells in what they differ.
///
/// # Errors
/// [`Stop::Ended`] with the status of [`Code::SomeFailed`] if they differ or something could not be read;
/// those of connecting and listing.
pub(in super::super) fn check(
    local: &Path,
    stored: &FolderPath,
    filter: &Filter,
    common: &Common,
    env: &mut Env,
) -> Result<(), Stop> {
    let trees = Trees::open(local, stored, filter, env)?;
    trees.expect_local()?;
    let mut connection = Connection::open(common, env)?;
    let listed = connection.remote().and_then(|remote| Listing::take(remote, stored));
    let listing = listed.map_err(|error| trees.failure(&error))?;
    trees.expect(&listing, false)?;
    let mut tally = Tally::default();
    let bar = env.work_bar("Comparing");
    let aside = trees.compare(listing, By::Digest, bar, &mut |verdict, bar| {
        tally.take(verdict, &trees, bar, env)
    })?;
    for (path, error) in &aside.bad {
        tally.failed += 1;
        let shown = path.display().to_string();
        fail(&shown, advice::failure(&format!("cannot look at {shown}"), error), env)?;
    }
    tally.finish(&aside.left_out.lines(), env)
}

impl Tally {
    fn take(
        &mut self,
        verdict: Verdict,
        trees: &Trees<'_>,
        bar: &Bar,
        env: &mut Env,
    ) -> Result<(), Stop> {
        let (word, path, is_folder, mut object) = match verdict {
            Verdict::Folders => return Ok(()),
            Verdict::Same | Verdict::OnlyTime(..) => {
                self.same += 1;
                return Ok(());
            }
            Verdict::Unreadable(path, error) => {
                self.failed += 1;
                let shown = trees.shown(&path);
                let why = advice::failure(&format!("cannot read {shown}"), &error);
                return within(bar, || fail(&shown, why, env));
            }
            // What is in it says so as well.
            Verdict::Here(Item { kind: Kind::Folder { is_empty: false }, .. })
            | Verdict::There(Item { kind: Kind::Folder { is_empty: false }, .. }) => return Ok(()),
            Verdict::Here(Item { path, kind }) => {
                self.only_here += 1;
                match kind {
                    Kind::File(here) => {
                        ("only here", path, false, json!({"bytes_here": here.bytes}))
                    }
                    Kind::Folder { .. } => ("only here", path, true, json!({})),
                }
            }
            Verdict::There(Item { path, kind }) => {
                self.only_there += 1;
                match kind {
                    Kind::File(there) => {
                        let object = json!({"bytes_there": there.bytes,
                                            "blake3_there": there.blake3.to_string()});
                        ("only there", path, false, object)
                    }
                    Kind::Folder { .. } => ("only there", path, true, json!({})),
                }
            }
            Verdict::Different(path, here, there) => {
                self.different += 1;
                let blake3 = there.blake3.to_string();
                let object = json!({"bytes_here": here.bytes, "bytes_there": there.bytes,
                                    "blake3_there": blake3});
                ("different", path, false, object)
            }
        };
        if env.manner().json {
            object["difference"] = json!(word.replace(' ', "-"));
            object["kind"] = json!(if is_folder { "folder" } else { "file" });
            object["path"] = json!(path);
            return env.json("item", object);
        }
        let slash = if is_folder { "/" } else { "" };
        within(bar, || env.data(&format!("{word:<10}  {}{slash}", trees.shown(&path))))
    }

    fn finish(self, left_out: &[String], env: &mut Env) -> Result<(), Stop> {
        let Tally { same, only_here, only_there, different, failed } = self;
        let is_same = only_here + only_there + different + failed == 0;
        let code = if is_same { 0 } else { Code::SomeFailed.exit_status() };
        if env.manner().json {
            let result = json!({"code": code, "same": same, "only_here": only_here,
                                "only_there": only_there, "different": different,
                                "failed": failed});
            env.json("result", result)?;
        } else {
            let unread = match failed {
                0 => String::new(),
                failed => format!(", {failed} could not be read"),
            };
            env.note(&match is_same {
                true => format!("No difference: {}", plural(same, "file")),
                false => format!(
                    "{only_here} only here, {only_there} only there, {different} different, \
                     {same} the same{unread}"
                ),
            });
            left_out.iter().for_each(|line| env.note(line));
        }
        if is_same { Ok(()) } else { Err(Stop::Ended(code)) }
    }
}

fn fail(path: &str, why: Failure, env: &mut Env) -> Result<(), Stop> {
    if env.manner().json {
        let code = why.code.exit_status();
        return env.json("item", json!({"code": code, "path": path, "message": why.text}));
    }
    env.tell(&why);
    Ok(())
}

/// Prints in the bar's place.
fn within(bar: &Bar, print: impl FnOnce() -> Result<(), Stop>) -> Result<(), Stop> {
    let mut printed = Ok(());
    bar.hide_for(|| printed = print());
    printed
}

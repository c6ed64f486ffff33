//! The server: is it there and the right one, does it let this user in, is it of this version, does its
//! clock agree, and what does it say of the cluster?

use std::path::Path;
use std::time::Instant;

use super::report::{Level, Report};
use super::settings::quoted;
use crate::cmd::client::scan;
use crate::cmd::client::settings::{Common, Settings};
use crate::cmd::env::{duration, size};
use crate::cmd::failure::{Failure, Stop};
use crate::cmd::status::{self, Asker, counted, span};
use crate::core::error::{Code, Error};
use crate::core::health::State as NodeState;
use crate::core::io::clock;
use crate::core::io::net::is_loopback;
use crate::core::io::tls::Trust;
use crate::core::remote::Remote;
use crate::core::status::{NodeStatus, State, Status, Trouble};

/// Clocks that differ by more than this date files wrongly enough to confuse people.
const CLOCKS_APART_MS: i64 = 2000;

/// What came of asking a server.
#[derive(Default)]
pub(super) struct Asked {
    /// Is it there?
    pub(super) answers: bool,
    /// What it says of the cluster, if it lets itself be asked.
    pub(super) status: Option<Status>,
}

/// Looks for the server in the network if it is to be looked for there. False if none is found, or
/// several: nobody is asked which.
pub(super) fn look_for(common: Common, report: &mut Report<'_>) -> Result<(Common, bool), Stop> {
    // What is wrong with the configuration is said when that is looked at.
    if !scan::is_wanted(&common, report.env()).unwrap_or(false) {
        return Ok((common, true));
    }
    match scan::settle(common.clone(), report.env()) {
        Ok(common) => Ok((common, true)),
        Err(Stop::Failed(Failure { text, hint, .. })) => {
            report.found("server", Level::Unavailable, text, hint.unwrap_or_default())?;
            Ok((common, false))
        }
        Err(other) => Err(other),
    }
}

/// Asks the server of a folder, without signing in.
pub(super) fn ask_folder(folder: &Path, report: &mut Report<'_>) -> Result<Asked, Stop> {
    let (asked, before) = (Instant::now(), clock::now_ms());
    let mut asker = Asker::Folder(report.env().at(folder));
    match asker.ask() {
        Ok(status) => {
            let took = duration(asked.elapsed());
            let folder = folder.display();
            report.ok("server", format!("the server of the folder {folder} answers, in {took}"))?;
            told(&status, before, report)?;
            Ok(Asked { answers: true, status: Some(status) })
        }
        Err(error) => {
            let Failure { code, text, hint } = asker.failure(&error);
            let (level, fix) = match code {
                Code::Unreachable => {
                    let start = format!("Start it:  palk server --dir {}", quoted(folder));
                    (Level::Unavailable, start)
                }
                _ => (Level::Fail, hint.unwrap_or_default()),
            };
            report.found("server", level, text, fix)?;
            Ok(Asked::default())
        }
    }
}

/// Asks the server that the client's settings name, signed in if that needs nobody's answer.
pub(super) fn ask(settings: Settings, report: &mut Report<'_>) -> Result<Asked, Stop> {
    let asked = Instant::now();
    let mut remote = match Remote::connect(settings.target()) {
        Ok(remote) => remote,
        Err(error) => {
            not_reached(&settings, &error, report)?;
            return Ok(Asked::default());
        }
    };
    let (server, took) = (&settings.server, duration(asked.elapsed()));
    let how = match settings.target().trust {
        Trust::Pinned(_) => "its key is the one that is known here",
        _ if remote.is_local() => {
            "it is on this machine; its key is remembered at the first sign-in"
        }
        _ => "a certificate authority vouches for it",
    };
    report.ok("server", format!("{server} answers, in {took}; {how}"))?;
    match settings.sign_in_quietly(&mut remote, report.env()) {
        Ok(Some(user)) => report.ok("sign-in", format!("{user} is signed in"))?,
        Ok(None) => {
            let text = "there is no saved sign-in and no password file, so the server is not asked about the nodes";
            let fix = "palk client login --user NAME   or look in the server's folder:  palk doctor \
                       --dir DIR";
            report.found("sign-in", Level::Risk, text, fix)?;
            return Ok(Asked { answers: true, status: None });
        }
        Err(Stop::Failed(Failure { text, hint, .. })) => {
            report.found("sign-in", Level::Fail, text, hint.unwrap_or_default())?;
            return Ok(Asked { answers: true, status: None });
        }
        Err(other) => return Err(other),
    }
    let before = clock::now_ms();
    match remote.status() {
        Ok(status) => {
            told(&status, before, report)?;
            Ok(Asked { answers: true, status: Some(status) })
        }
        Err(error) => {
            let text = format!("cannot ask how the cluster is: {error}");
            report.found("cluster", Level::Fail, text, "Try again; the server's log says more.")?;
            Ok(Asked { answers: true, status: None })
        }
    }
}

fn not_reached(settings: &Settings, error: &Error, report: &mut Report<'_>) -> Result<(), Stop> {
    let Failure { text, hint, .. } = settings.not_reached(error);
    let is_here = is_loopback(&settings.server).unwrap_or(false);
    let (level, fix) = match error {
        // Somebody at a terminal is asked, so it is only not known yet.
        Error::UnknownServer { .. } => (Level::Risk, hint),
        _ if error.code() == Code::Unreachable && is_here => {
            let fix = "Start it:  palk server   or name another:  palk client config set server \
                       HOST:PORT   or try everything out:  palk demo";
            (Level::Unavailable, Some(fix.to_owned()))
        }
        _ => (Level::Unavailable, hint),
    };
    let fix = fix.unwrap_or_else(|| "Name another:  --server HOST:PORT".to_owned());
    report.found("server", level, text, fix)
}

/// What the server says of itself and the cluster; it was asked at `before`.
fn told(status: &Status, before: i64, report: &mut Report<'_>) -> Result<(), Stop> {
    check_version(status, report)?;
    check_clock(status, before, report)?;
    let headline = status::headline(status);
    let level = match status.state {
        State::Healthy => {
            report.ok("cluster", headline)?;
            return tell_nodes(status, report);
        }
        State::Degraded if status.can_store => Level::Degraded,
        State::Degraded => Level::Fail,
        State::Unavailable => Level::Unavailable,
    };
    report.found("cluster", level, headline, "See to what the next lines say.")?;
    for one in &status.troubles {
        let level = match one {
            Trouble::Unreadable { .. } | Trouble::Damaged { .. } => Level::Unavailable,
            Trouble::CatalogInDoubt
            | Trouble::ServerFull
            | Trouble::ChangeInDoubt
            | Trouble::NotLeading => Level::Fail,
            _ => Level::Degraded,
        };
        let [text, fix] = status::trouble(one, &status.unreadable);
        report.found("cluster", level, text, fix)?;
    }
    tell_nodes(status, report)
}

fn check_version(status: &Status, report: &mut Report<'_>) -> Result<(), Stop> {
    let own = env!("CARGO_PKG_VERSION");
    match status.version.as_deref() {
        Some(version) if version == own => {
            report.ok("version", format!("this palk and the server are both {own}"))
        }
        Some(version) => report.found(
            "version",
            Level::Risk,
            format!("this palk is {own}, the server is {version}"),
            "Update the older one; the server and its nodes together.",
        ),
        None => report.found(
            "version",
            Level::Risk,
            format!("this palk is {own}, the server is an older one"),
            "Update the server and its nodes together.",
        ),
    }
}

fn check_clock(status: &Status, before: i64, report: &mut Report<'_>) -> Result<(), Stop> {
    let Some(server_ms) = status.now_ms else { return Ok(()) };
    // The server looked at its clock at some time between these two.
    let after = clock::now_ms();
    let apart = match server_ms {
        _ if server_ms < before => server_ms - before,
        _ if server_ms > after => server_ms - after,
        _ => 0,
    };
    if apart.abs() <= CLOCKS_APART_MS {
        return report.ok("clock", "the clocks here and of the server agree");
    }
    let ahead = if apart > 0 { "ahead of" } else { "behind" };
    report.found(
        "clock",
        Level::Risk,
        format!("the server's clock is {} {ahead} the one here", span(apart.unsigned_abs())),
        "Set the wrong one, and have it kept right:  timedatectl set-ntp true",
    )
}

/// The nodes that answer; the others are among the troubles.
fn tell_nodes(status: &Status, report: &mut Report<'_>) -> Result<(), Stop> {
    let answers = |node: &&NodeStatus| matches!(node.state, NodeState::Up | NodeState::Probation);
    for node in status.nodes.iter().filter(answers) {
        let check = format!("node-{}", node.node);
        let room = node.room.map_or(String::new(), |room| {
            format!(
                "; {} of {} are free, {} of that in reserve",
                size(room.free_bytes),
                size(room.total_bytes),
                size(room.free_bytes.saturating_sub(room.spare_bytes))
            )
        });
        let text = format!("up at {}{room}", node.address);
        match node.errors {
            0 => report.ok(&check, text)?,
            errors => {
                let found = counted(errors, "piece");
                let text = format!("{text}; {found} of its own were missing or damaged so far");
                let fix = "Look whether there are more:  palk admin scrub";
                report.found(&check, Level::Risk, text, fix)?;
            }
        }
    }
    Ok(())
}

//! `palk admin scrub`: everything on the nodes looked at, and mended.

use std::time::Duration;

use clap::Args;

use super::Common;
use super::follow::{Ended, Following, end, follow, with_hint};
use super::heal::tell_remaining;
use crate::cmd::env::{Env, size};
use crate::cmd::failure::{Failure, Stop};
use crate::cmd::parse_time;
use crate::cmd::status::{counted, scrub_far, span};
use crate::core::error::Code;
use crate::core::path::printable;
use crate::core::status::{Cause, ScrubPhase, Scrubbing};
use crate::core::types::NodeSet;
use crate::core::wire::admin::{Verb, parse};
use crate::core::wire::reports::Scrubbed;

const AFTER_HELP: &str = "\
Exit status: 0 everything is as it should be, or was mended; 20 something could not be
  mended, or a node was not checked; 6 no server. Ctrl-C leaves the scrub running.";

const LEFT: &str = "the scrub goes on in the server; see:  palk status   or end it:  palk admin \
                    scrub --stop";

/// Have every node read all its blocks from its disk, and mend what is not as it should be
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Scrub {
    /// Compare the bytes of all four nodes, not their checksums only
    #[arg(long)]
    witness: bool,

    /// Remove blocks of no file that have been known for so long (90m, 12h, 7d) [default: 10m]
    #[arg(long, value_name = "TIME", value_parser = parse_grace)]
    grace: Option<Duration>,

    /// Do not wait for its end
    #[arg(long)]
    detach: bool,

    /// End the scrub that is running
    #[arg(long, conflicts_with_all = ["witness", "grace", "detach"])]
    stop: bool,
}

fn parse_grace(text: &str) -> Result<Duration, String> {
    let wrong = || "a number and s, m, h or d (0s, 90m, 12h, 7d)".to_owned();
    parse_time(text).ok_or_else(wrong)
}

impl Scrub {
    /// Has a scrub begin, or joins the one that is running, and waits.
    ///
    /// # Errors
    /// If nobody can be asked; 20 as an exit status.
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let verb = if self.stop {
            Verb::ScrubStop
        } else {
            let millis = |grace: Duration| u64::try_from(grace.as_millis()).unwrap_or(u64::MAX);
            let grace_ms = self.grace.map(millis);
            Verb::Scrub { witness: self.witness, grace_ms, detach: self.detach }
        };
        let following = Following {
            label: "scrub",
            when_left: LEFT,
            begins: &|fields| Ok(begins(&parse(fields)?)),
            far: &|fields| {
                let scrub = parse::<Scrubbed>(fields)?.scrub.unwrap_or_default();
                Ok((scrub.percent(), scrub_far(&scrub)))
            },
        };
        let asked = follow::<Scrubbed>(common, env, &verb, &following);
        let Ended { code, report } = asked.map_err(|(_, stop)| match stop {
            Stop::Failed(Failure { code: Code::Busy, .. }) => with_hint(
                stop,
                "Join it without that option, or end it first:  palk admin scrub --stop",
            ),
            other => other,
        })?;
        tell(env, &report, self.stop);
        end(code)
    }
}

fn begins(report: &Scrubbed) -> String {
    let scrub = report.scrub.clone().unwrap_or_default();
    let (files, bytes) = (counted(scrub.files_all, "file"), size(scrub.bytes_all));
    let how = if report.joined { "is running already; following it" } else { "begins" };
    format!("A scrub {how}: {files}, {bytes} on the nodes")
}

fn tell(env: &mut Env, report: &Scrubbed, was_stop: bool) {
    let Some(scrub) = &report.scrub else {
        env.note("No scrub is running, and there has never been one.");
        return;
    };
    if was_stop && !report.joined {
        env.note("No scrub is running.");
        return;
    }
    if scrub.ended_ms_ago.is_none() && scrub.phase != ScrubPhase::Mending {
        env.note(&begins(report));
        env.note("  See how far it is:  palk status");
        return;
    }
    if report.untold > 0 {
        env.note(&format!("... and {} more", report.untold));
    }
    summary(scrub).iter().for_each(|line| env.note(line));
    tell_remaining(env, &report.remaining);
}

/// What a scrub came to, most of all what is not as it should be.
pub(crate) fn summary(scrub: &Scrubbing) -> Vec<String> {
    let how = match scrub.phase {
        ScrubPhase::Stopped => "Stopped after",
        _ => "Scrubbed",
    };
    let mut lines = vec![format!(
        "{how} {}, {}: {} wrong, {} missing; {} repaired",
        counted(scrub.files, "file"),
        size(scrub.bytes),
        scrub.wrong,
        scrub.missing,
        scrub.repaired
    )];
    if scrub.removed > 0 {
        let strays = counted(scrub.removed, "stray");
        lines.push(format!("  {strays} removed, blocks of no file"));
    }
    if scrub.stray > 0 {
        let strays = counted(scrub.stray, "stray");
        lines.push(format!("  {strays} noted, removed by a scrub after the grace time"));
    }
    if scrub.foreign > 0 {
        let files = counted(scrub.foreign, "file");
        lines.push(format!("  {files} that the nodes did not write left alone"));
    }
    if scrub.owed > 0 {
        let pieces = counted(scrub.owed, "piece");
        lines.push(format!("  {pieces} not mended yet; that goes on by itself"));
    }
    if scrub.damaged > 0 {
        let files = counted(scrub.damaged, "file");
        lines.push(format!("  {files} damaged on more nodes than can be told apart"));
    }
    let mut unknown: NodeSet = scrub.unchecked.iter().copied().collect();
    for Cause { node, why } in &scrub.causes {
        unknown.remove(*node);
        lines.push(format!("  not all of node {node} could be checked: {}", printable(why)));
    }
    if !unknown.is_empty() {
        lines.push(format!("  not all of {unknown} could be checked; the server's log says why"));
    }
    if !scrub.unchecked.is_empty() {
        lines.push("  Scrub again when that is over:  palk admin scrub".to_owned());
    }
    if let Some(ago) = scrub.ended_ms_ago.filter(|ago| *ago >= 60_000) {
        lines.push(format!("  it ended {} ago", span(ago)));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::types::NodeId;

    #[test]
    fn times_are_read_as_people_write_them() {
        assert_eq!(parse_grace("0s"), Ok(Duration::ZERO));
        assert_eq!(parse_grace("90m"), Ok(Duration::from_secs(5400)));
        for wrong in ["", "s", "1", "-1s", "1w", "é"] {
            assert!(parse_grace(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_summary_is_one_line_if_all_is_well() {
        let mut scrub = Scrubbing {
            phase: ScrubPhase::Done,
            files: 2,
            bytes: 42_000_000,
            ended_ms_ago: Some(3),
            ..Scrubbing::default()
        };
        let clean = "Scrubbed 2 files, 42.0 MB: 0 wrong, 0 missing; 0 repaired";
        assert_eq!(summary(&scrub), [clean]);
        scrub.phase = ScrubPhase::Stopped;
        scrub.unchecked = vec![NodeId::ALL[1], NodeId::ALL[3]];
        (scrub.stray, scrub.removed, scrub.foreign, scrub.owed, scrub.damaged) = (1, 2, 3, 4, 5);
        let lines = summary(&scrub);
        assert!(lines[0].starts_with("Stopped after 2 files"), "{lines:?}");
        assert_eq!(lines.len(), 8);
        assert!(lines[6].contains("nodes 2 and 4"), "{lines:?}");
        let why = "permission denied".to_owned();
        scrub.causes = vec![Cause { node: NodeId::ALL[3], why }];
        let lines = summary(&scrub);
        assert_eq!(lines[6], "  not all of node 4 could be checked: permission denied");
        assert!(lines[7].starts_with("  not all of node 2 could"), "{lines:?}");
    }

    #[test]
    fn stopping_a_scrub_and_starting_one_are_two_things() {
        let arguments = ["admin", "scrub", "--stop", "--witness"];
        let (mut env, screen) = Env::fake(&arguments, "");
        assert_eq!(crate::cmd::run(&mut env), 2);
        assert!(screen.err().contains("--witness"), "{}", screen.err());
    }
}

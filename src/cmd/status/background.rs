//! What goes on in the background, in words: a line each for what there is to say.

use super::words::{counted, grouped, span};
use crate::cmd::env::{shown_rate, size};
use crate::core::path::printable;
use crate::core::status::{Backup, Healed, Kept, Replacing, ScrubPhase, Scrubbing, Upkeep};
use crate::core::types::NodeSet;

/// The lines, each with its label.
pub(super) fn lines(upkeep: &Upkeep) -> Vec<(&'static str, String)> {
    let mut lines = vec![("scrub", scrub(upkeep))];
    lines.extend(upkeep.replacing.iter().map(|one| ("replace", replacing(one))));
    lines.extend((upkeep.healed.pieces > 0).then(|| ("healed", healed(upkeep.healed))));
    lines.extend(kept(upkeep.kept).map(|text| ("kept", text)));
    lines.extend((!upkeep.backups.is_empty()).then(|| ("backup", backups(&upkeep.backups))));
    lines
}

/// What is kept of what is not there any more, if anything is.
fn kept(kept: Kept) -> Option<String> {
    let snapshots = counted(kept.snapshots, "snapshot");
    match (kept.bytes, kept.snapshots) {
        (0, 0) => None,
        (bytes, 0) => Some(format!("{} for undo", size(bytes))),
        (bytes, _) => Some(format!("{} for undo and in {snapshots}", size(bytes))),
    }
}

fn scrub(upkeep: &Upkeep) -> String {
    let next = match upkeep.next_scrub_ms {
        Some(0) => "the next one is due".to_owned(),
        Some(ms) => format!("the next begins in {}", span(ms)),
        None => "none begins by itself".to_owned(),
    };
    let Some(scrub) = &upkeep.scrub else {
        return format!("never yet; {next}");
    };
    let Some(ended) = scrub.ended_ms_ago else {
        return scrub_far(scrub);
    };
    let how = match scrub.phase {
        ScrubPhase::Stopped => "was stopped",
        _ => "ended",
    };
    format!(
        "the last {how} {} ago: {}, {}{}; {next}",
        span(ended),
        size(scrub.bytes),
        counted(scrub.errors(), "error"),
        unchecked(scrub)
    )
}

fn unchecked(scrub: &Scrubbing) -> String {
    let nodes: NodeSet = scrub.unchecked.iter().copied().collect();
    if nodes.is_empty() { String::new() } else { format!(", not all of {nodes} checked") }
}

/// How far a scrub is: `41 %, 168.0 of 412.0 GB, 96.0 MB/s, about 43m left, 0 errors`.
pub(crate) fn scrub_far(scrub: &Scrubbing) -> String {
    let errors = counted(scrub.errors(), "error");
    match scrub.phase {
        ScrubPhase::Inventory => format!("looking at what lies on the nodes, {errors}"),
        ScrubPhase::Mending => {
            let left = counted(scrub.owed, "piece");
            format!("all is read, {errors}, {left} still to be mended")
        }
        _ => {
            let rate = scrub.bytes_per_second.map(|bytes| format!(", {}", shown_rate(bytes)));
            let left = scrub.left_ms.map(|ms| format!(", about {} left", about(ms)));
            format!(
                "{} %, {}{}{}, {errors}",
                scrub.percent(),
                part(scrub.bytes, scrub.bytes_all),
                rate.unwrap_or_default(),
                left.unwrap_or_default()
            )
        }
    }
}

/// A time that is an estimate: without seconds once it is minutes.
fn about(ms: u64) -> String {
    match ms / 60_000 {
        0 => span(ms.max(1000)),
        minutes @ 1..60 => format!("{minutes}m"),
        _ => span(ms),
    }
}

/// `168.0 of 412.0 GB`; with both units where they differ.
pub(super) fn part(bytes: u64, all: u64) -> String {
    let (bytes, all) = (size(bytes), size(all));
    match (bytes.split_once(' '), all.split_once(' ')) {
        (Some((number, unit)), Some((_, of))) if unit == of => format!("{number} of {all}"),
        _ => format!("{bytes} of {all}"),
    }
}

fn replacing(one: &Replacing) -> String {
    let at = format!("node {} by {}", one.node, printable(&one.address));
    let pieces = counted(one.pieces, "piece");
    let not_whole = match one.not_whole {
        0 => String::new(),
        files => format!("; {} not whole yet", counted(files, "file")),
    };
    if one.owed > 0 {
        let bytes = part(one.piece_bytes.saturating_sub(one.owed_bytes), one.piece_bytes);
        return format!("{at}: {} of {pieces} left to rebuild, {bytes} done", grouped(one.owed));
    }
    format!("{at}: {} of {pieces} read back and matched{not_whole}", grouped(one.proved))
}

fn healed(healed: Healed) -> String {
    format!(
        "{} since the server started; {} read from other nodes for that",
        counted(healed.pieces, "piece"),
        size(healed.bytes_read)
    )
}

fn backups(backups: &[Backup]) -> String {
    let those = |belief: fn(&Backup) -> bool| -> NodeSet {
        backups.iter().filter(|one| belief(one)).map(|one| one.node).collect()
    };
    let current = those(|one| one.behind == Some(0));
    let behind = those(|one| one.behind.is_some_and(|entries| entries > 0));
    let unknown = those(|one| one.behind.is_none());
    let mut parts = vec![format!("up to date on {current}")];
    parts.extend((!behind.is_empty()).then(|| format!("behind on {behind}")));
    parts.extend((!unknown.is_empty()).then(|| format!("not known of {unknown}")));
    parts.join("; ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::types::NodeId;

    fn running() -> Scrubbing {
        Scrubbing {
            phase: ScrubPhase::Files,
            bytes: 168_920_000_000,
            bytes_all: 412_000_000_000,
            bytes_per_second: Some(96_000_000),
            left_ms: Some(2_600_000),
            ..Scrubbing::default()
        }
    }

    #[test]
    fn a_scrub_says_how_far_it_is_and_guesses_no_time() {
        let mut scrub = running();
        let expected = "41 %, 168.9 of 412.0 GB, 96.0 MB/s, about 43m left, 0 errors";
        assert_eq!(scrub_far(&scrub), expected);
        (scrub.bytes, scrub.bytes_per_second, scrub.left_ms) = (950_000_000, None, None);
        (scrub.wrong, scrub.missing) = (1, 1);
        assert_eq!(scrub_far(&scrub), "0 %, 950.0 MB of 412.0 GB, 2 errors");
        (scrub.phase, scrub.owed) = (ScrubPhase::Mending, 1);
        assert_eq!(scrub_far(&scrub), "all is read, 2 errors, 1 piece still to be mended");
        assert_eq!([about(0), about(59_000), about(7_500_000)], ["1s", "59s", "2h05m"]);
    }

    #[test]
    fn a_line_tells_when_the_last_scrub_ended_and_the_next_begins() {
        let mut upkeep = Upkeep { next_scrub_ms: Some(600_000_000), ..Upkeep::default() };
        assert_eq!(scrub(&upkeep), "never yet; the next begins in 6d22h");
        let mut last = running();
        (last.phase, last.ended_ms_ago) = (ScrubPhase::Done, Some(7_500_000));
        last.unchecked = vec![NodeId::ALL[1]];
        (upkeep.scrub, upkeep.next_scrub_ms) = (Some(last), None);
        let expected = "the last ended 2h05m ago: 168.9 GB, 0 errors, not all of node 2 checked; \
                        none begins by itself";
        assert_eq!(scrub(&upkeep), expected);
        upkeep.scrub = Some(running());
        assert!(scrub(&upkeep).starts_with("41 %"));
    }

    #[test]
    fn there_is_a_line_for_what_there_is_to_say() {
        let node = NodeId::ALL[1];
        let labels = |upkeep: &Upkeep| -> Vec<&str> {
            lines(upkeep).into_iter().map(|(label, _)| label).collect()
        };
        assert_eq!(labels(&Upkeep::default()), ["scrub"]);
        let mut one = Replacing {
            node,
            address: "10.0.0.9:1".into(),
            done: false,
            pieces: 18_204,
            piece_bytes: 206_000_000_000,
            owed: 3,
            owed_bytes: 6_000_000_000,
            proved: 0,
            not_whole: 0,
        };
        let backup = |node, behind| Backup { node, behind, written_ms_ago: None, why: None };
        let upkeep = Upkeep {
            healed: Healed { pieces: 2, bytes_read: 3_000_000 },
            replacing: vec![one.clone()],
            backups: vec![backup(NodeId::ALL[0], Some(0)), backup(node, Some(4))],
            ..Upkeep::default()
        };
        assert_eq!(labels(&upkeep), ["scrub", "replace", "healed", "backup"]);
        let expected = "node 2 by 10.0.0.9:1: 3 of 18,204 pieces left to rebuild, 200.0 of 206.0 \
                        GB done";
        assert_eq!(replacing(&one), expected);
        (one.owed, one.proved, one.not_whole) = (0, 18_203, 1);
        let expected = "node 2 by 10.0.0.9:1: 18,203 of 18,204 pieces read back and matched; 1 \
                        file not whole yet";
        assert_eq!(replacing(&one), expected);
        let text = &lines(&upkeep)[3].1;
        assert_eq!(text, "up to date on node 1; behind on node 2");
    }
}

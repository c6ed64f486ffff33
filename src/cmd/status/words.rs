//! The sentences of a status report.

use crate::cmd::env::size;
use crate::core::path::printable;
use crate::core::status::{Debt, State, Status, Trouble};
use crate::core::types::{NodeId, NodeSet};
use crate::core::wire::node::DiskTrouble;

/// What can be done, in one line.
pub(crate) fn headline(report: &Status) -> String {
    let word = state(report.state);
    let files = report.files;
    let reading = match (files.count, files.unreadable) {
        (0, _) => "there are no files yet".to_owned(),
        (_, 0) => "every file is readable".to_owned(),
        (count, some) => {
            format!("{} of {} files cannot be read now", grouped(some), grouped(count))
        }
    };
    let storing = if report.can_store { "files can be stored" } else { "no file can be stored" };
    let sparing = match report.nodes_to_spare {
        // It would say nothing that the first sentence does not.
        0 if files.unreadable > 0 => String::new(),
        0 => "; no more node may be lost".to_owned(),
        1 => "; 1 more node may be lost".to_owned(),
        more => format!("; {more} more nodes may be lost"),
    };
    format!("{word}  {reading}; {storing}{sparing}")
}

/// The state in one word.
pub(super) fn state(state: State) -> &'static str {
    match state {
        State::Healthy => "HEALTHY",
        State::Degraded => "DEGRADED",
        State::Unavailable => "UNAVAILABLE",
    }
}

/// What is stored and what is missing.
pub(super) fn sums(report: &Status) -> String {
    let files = report.files;
    format!("{} in {}     owed: {}", grouped(files.count), size(files.bytes), owed(&report.owed))
}

/// What nodes lack: `31 pieces, 2.1 GB`.
pub(crate) fn owed(debt: &Debt) -> String {
    match debt.pieces {
        0 => "nothing".to_owned(),
        pieces => format!("{}, {}", counted(pieces, "piece"), size(debt.piece_bytes)),
    }
}

/// What is wrong, and what to do about it.
pub(crate) fn trouble(trouble: &Trouble, named: &[String]) -> [String; 2] {
    match trouble {
        Trouble::Unreadable { files } => [
            format!("{}{}", too_few(*files), names(*files, named)),
            "bring back the nodes that are away; nothing is lost by waiting".to_owned(),
        ],
        Trouble::Damaged { files } => [
            format!(
                "{} cannot be read: fewer than 2 nodes hold what was stored{}",
                counted(*files, "file"),
                names(*files, named)
            ),
            "store them again; or put back a sound copy of a node's folder:  palk admin heal"
                .to_owned(),
        ],
        Trouble::NodeAway { node, silent_ms, why } => node_away(*node, *silent_ms, why),
        Trouble::CatalogInDoubt => [
            "a write to the user database failed half-way, so nothing is changed any more"
                .to_owned(),
            "look at the disk of the server's folder, then start the server again".to_owned(),
        ],
        Trouble::ServerFull => [
            "the disk of the server's folder is full: files can be read and deleted, and nothing can be \
             stored"
                .to_owned(),
            "free room on it, or move the folder to a larger disk; the server goes on by itself"
                .to_owned(),
        ],
        Trouble::ChangeInDoubt => [
            "a change is in doubt: fewer than 3 nodes have confirmed it; until that is settled \
             nothing can be changed"
                .to_owned(),
            "bring back the nodes that are away; it is settled as soon as 3 nodes are up"
                .to_owned(),
        ],
        Trouble::NotLeading => [
            "the server has not taken up the nodes' journals yet, so nothing can be changed"
                .to_owned(),
            "wait a moment; if it stays so, the server's log says why".to_owned(),
        ],
        Trouble::NodeCatchingUp { node } => [
            format!(
                "node {node} lacks part of the journal or of its pieces (its folder was emptied, \
                 replaced by an older copy, or it was away); it is being compared"
            ),
            "nothing: it counts again as soon as it is known what it lacks".to_owned(),
        ],
        Trouble::PiecesOwed { nodes, pieces, bytes, why } => {
            let lack = if nodes.len() == 1 { "lacks" } else { "lack" };
            let nodes: NodeSet = nodes.iter().copied().collect::<NodeSet>();
            let owed = format!("{nodes} {lack} {}, {}", counted(*pieces, "piece"), size(*bytes));
            match why {
                None => [owed, "nothing: they are rebuilt in the background".to_owned()],
                Some(why) => [
                    format!("{owed}; the last try to rebuild one failed: {}", printable(why)),
                    "see to the cause; each is tried again by itself, less and less often, and all \
                     of them now by:  palk admin heal"
                        .to_owned(),
                ],
            }
        }
        Trouble::NodeDisk { node, cause } => node_disk(*node, cause),
        Trouble::NodeFull { node, spare_bytes } => node_full(*node, *spare_bytes),
        Trouble::NodeUnsteady { node, why } => [
            format!("node {node} answers again, but {}", printable(why)),
            "look at its disk and its network; it is taken back by itself if it stays in time"
                .to_owned(),
        ],
        Trouble::JournalBehind { node, why } => {
            let why = if why.is_empty() { "the server's log may say why" } else { why };
            [
                format!("node {node} is behind with its journal or snapshot: {}", printable(why)),
                "look at its disk; it is tried again by itself, and now by:  palk admin backup"
                    .to_owned(),
            ]
        }
        Trouble::Unknown => [
            "there is something that this version of palk has no words for".to_owned(),
            "ask with the palk that the server is of, or with --json".to_owned(),
        ],
    }
}

fn node_away(node: NodeId, silent_ms: Option<u64>, why: &str) -> [String; 2] {
    let since = match silent_ms {
        Some(silent_ms) => format!("for {}", span(silent_ms)),
        None => "since the server started".to_owned(),
    };
    let replace = format!("palk admin replace {node} --to HOST:PORT");
    // A node that is there says of itself that its folder is not, or that its disk fails.
    let is_folder = why.contains("its folder ");
    let is_disk = why.contains("its disk failed");
    let action = if is_folder && why.contains("cannot be read") {
        "make the folder readable for the user that the node runs as, or look at its disk; the node \
         goes on by itself then"
            .to_owned()
    } else if is_folder {
        format!(
            "put the folder back, or start the node again with an empty one:  palk storage --id {node}\n\
             it is filled from the other nodes then"
        )
    } else if is_disk {
        format!("look at the disk and the node's log; replace it if it is failing:  {replace}")
    } else {
        format!("start it:  palk storage --id {node}\nor replace it:  {replace}")
    };
    let how = if is_folder || is_disk { "cannot be used" } else { "has not answered" };
    [format!("node {node} {how} {since} ({})", printable(why)), action]
}

fn too_few(files: u64) -> String {
    let (file, it) = if files == 1 { ("file", "it") } else { ("files", "them") };
    format!("{} {file} cannot be read: fewer than 2 nodes that hold {it} are up", grouped(files))
}

fn names(files: u64, named: &[String]) -> String {
    // Where there are more names than files, some are of files that cannot be read for another reason.
    if named.is_empty() || named.len() as u64 > files {
        return String::new();
    }
    let shown: Vec<String> = named.iter().map(|name| printable(name)).collect();
    let more = files.saturating_sub(named.len() as u64);
    let rest = if more > 0 { format!(" and {} more", grouped(more)) } else { String::new() };
    format!("\n{}{rest}", shown.join("\n"))
}

fn node_disk(node: NodeId, cause: &DiskTrouble) -> [String; 2] {
    let replace = format!("palk admin replace {node} --to HOST:PORT");
    match cause {
        DiskTrouble::NoInodes => [
            format!(
                "node {node} has no inodes left: no file can be made on its disk, even if bytes are free"
            ),
            format!("delete files there, or give it a disk with more inodes:  {replace}"),
        ],
        DiskTrouble::NotWritable(why) => [
            format!("node {node} may not write to its folder: {}", printable(why)),
            format!(
                "make the folder writable for the user that the node runs as (lsattr shows whether it is \
                 immutable); if the file system has become read-only, look at the disk, and replace it \
                 if it is failing:  {replace}"
            ),
        ],
        DiskTrouble::Full(why) => [
            format!("node {node} takes no new files: no space left on its disk{}", printable(why)),
            format!(
                "delete files, or give it more room: a larger quota, or a larger disk:  {replace}"
            ),
        ],
        DiskTrouble::Failing(why) => [
            format!("node {node} has trouble with its disk: {}", printable(why)),
            format!("look at the disk and the node's log; replace it if it is failing:  {replace}"),
        ],
    }
}

fn node_full(node: NodeId, spare_bytes: u64) -> [String; 2] {
    let status = if spare_bytes == 0 {
        format!("node {node} takes no new files: its disk is full but for its reserve")
    } else {
        format!("node {node} is nearly full: {} are left for new files", size(spare_bytes))
    };
    [status, "delete files, or give it a larger disk".to_owned()]
}

pub(crate) fn counted(number: u64, what: &str) -> String {
    let plural = if number == 1 { "" } else { "s" };
    format!("{} {what}{plural}", grouped(number))
}

/// How long: `12s`, `3m12s`, `2h05m`, `3d04h`.
pub(crate) fn span(ms: u64) -> String {
    let seconds = ms / 1000;
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m{:02}s", seconds % 60),
        (0, ..) => format!("{hours}h{:02}m", minutes % 60),
        _ => format!("{days}d{:02}h", hours % 24),
    }
}

/// `1,440,014`
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.char_indices() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_said_in_two_units() {
        let cases = [
            (0, "0s"),
            (59_999, "59s"),
            (192_000, "3m12s"),
            (7_500_000, "2h05m"),
            (273_600_000, "3d04h"),
        ];
        for (ms, text) in cases {
            assert_eq!(span(ms), text);
        }
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let numbers = [0, 999, 1000, 1_440_014].map(grouped);
        assert_eq!(numbers, ["0", "999", "1,000", "1,440,014"]);
    }

    #[test]
    fn what_is_owed_is_said_in_one_phrase() {
        let debt = |pieces| Debt { pieces, piece_bytes: 1000 * pieces };
        assert_eq!(owed(&debt(0)), "nothing");
        assert_eq!(owed(&debt(1)), "1 piece, 1.0 kB");
        assert_eq!(owed(&debt(2000)), "2,000 pieces, 2.0 MB");
    }

    #[test]
    fn a_node_without_its_folder_is_told_from_one_that_is_not_there() {
        let away = |why: &str| {
            let (node, why) = (NodeId::ALL[1], why.to_owned());
            trouble(&Trouble::NodeAway { node, silent_ms: Some(5000), why }, &[])
        };
        let [status, action] = away("its folder /data/files_2 is gone: no such file or folder");
        assert!(status.starts_with("node 2 cannot be used for 5s (its folder"), "{status}");
        assert!(action.starts_with("put the folder back, or start the node again"), "{action}");
        let [_, action] = away("its folder /data/files_2 cannot be read (permission denied)");
        assert!(action.starts_with("make the folder readable"), "{action}");
        let [status, action] = away("its disk failed: input/output error");
        assert!(status.starts_with("node 2 cannot be used for 5s (its disk"), "{status}");
        assert!(action.starts_with("look at the disk"), "{action}");
        let [status, action] = away("connection refused");
        assert!(status.starts_with("node 2 has not answered for 5s"), "{status}");
        assert!(action.starts_with("start it:"), "{action}");
    }

    #[test]
    fn names_from_elsewhere_cannot_move_the_cursor() {
        let named = ["/demo/a\x1b[2J".to_owned()];
        let [status, _] = trouble(&Trouble::Unreadable { files: 3 }, &named);
        assert!(status.ends_with("\n/demo/a\\u{1b}[2J and 2 more"), "{status}");
        let node = NodeId::ALL[1];
        let why = "a\x1b".to_owned();
        let [status, _] = trouble(&Trouble::NodeAway { node, silent_ms: None, why }, &[]);
        assert_eq!(status, "node 2 has not answered since the server started (a\\u{1b})");
    }
}

//! The sentences of a status report.

use crate::cmd::env::size;
use crate::core::path::printable;
use crate::core::status::{Debt, State, Status, Trouble};
use crate::core::types::{NodeId, NodeSet};

/// What can be done, in one line.
pub(super) fn headline(report: &Status) -> String {
    let word = match report.state {
        State::Healthy => "HEALTHY",
        State::Degraded => "DEGRADED",
        State::Unavailable => "UNAVAILABLE",
    };
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

/// What is stored and what is owed.
pub(super) fn sums(report: &Status) -> String {
    let files = report.files;
    format!("{} in {}     owed: {}", grouped(files.count), size(files.bytes), owed(&report.owed))
}

fn owed(debt: &Debt) -> String {
    let orders = counted(debt.orders, "order");
    let pieces = format!("{}, {}", counted(debt.pieces, "piece"), size(debt.piece_bytes));
    match (debt.pieces, debt.orders) {
        (0, 0) => "nothing".to_owned(),
        (0, _) => orders,
        (_, 0) => pieces,
        _ => format!("{pieces}; {orders}"),
    }
}

/// What is wrong, and what to do about it.
pub(super) fn trouble(trouble: &Trouble, named: &[String]) -> [String; 2] {
    match trouble {
        Trouble::Unreadable { files } => [
            format!("{}{}", too_few(*files), names(*files, named)),
            "bring back the nodes that are away; nothing is lost by waiting".to_owned(),
        ],
        Trouble::NodeAway { node, silent_ms, why } => {
            let since = match silent_ms {
                Some(silent_ms) => format!("for {}", span(*silent_ms)),
                None => "since the server started".to_owned(),
            };
            [
                format!("node {node} has not answered {since} ({})", printable(why)),
                format!(
                    "start it:  palk storage --id {node}\nor replace it:  palk admin replace \
                     {node} --to HOST:PORT"
                ),
            ]
        }
        Trouble::CatalogInDoubt => [
            "a write to the catalog failed half-way, so nothing is changed any more".to_owned(),
            "see to the disk of the server's folder, then start the server again".to_owned(),
        ],
        Trouble::PiecesOwed { nodes, pieces, bytes } => {
            let lack = if nodes.len() == 1 { "lacks" } else { "lack" };
            let nodes: NodeSet = nodes.iter().copied().collect::<NodeSet>();
            [
                format!("{nodes} {lack} {}, {}", counted(*pieces, "piece"), size(*bytes)),
                "nothing: they are rebuilt while the nodes are up and have room".to_owned(),
            ]
        }
        Trouble::OrdersRefused { node, why } => [
            format!("node {node} does not carry out an order: {}", printable(why)),
            "see to its disk; it is told again until it does".to_owned(),
        ],
        Trouble::NodeFull { node, spare_bytes } => node_full(*node, *spare_bytes),
        Trouble::NodeUnsteady { node, why } => [
            format!("node {node} answers again, but {}", printable(why)),
            "look at its disk and its network; it is taken back by itself if it stays in time"
                .to_owned(),
        ],
        Trouble::BackupBehind { node, why } => [
            format!("node {node} does not take the user database's backup: {}", printable(why)),
            "see to its disk, then:  palk admin backup".to_owned(),
        ],
        Trouble::Unknown => [
            "there is something that this version of palk has no words for".to_owned(),
            "ask with the palk that the server is of, or with --json".to_owned(),
        ],
    }
}

fn too_few(files: u64) -> String {
    let (file, it) = if files == 1 { ("file", "it") } else { ("files", "them") };
    format!("{} {file} cannot be read: fewer than 2 nodes that hold {it} are up", grouped(files))
}

fn names(files: u64, named: &[String]) -> String {
    if named.is_empty() {
        return String::new();
    }
    let shown: Vec<String> = named.iter().map(|name| printable(name)).collect();
    let more = files.saturating_sub(named.len() as u64);
    let rest = if more > 0 { format!(" and {} more", grouped(more)) } else { String::new() };
    format!("\n{}{rest}", shown.join("\n"))
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
        let debt = |orders, pieces| Debt { orders, pieces, piece_bytes: 1000 * pieces };
        assert_eq!(owed(&debt(0, 0)), "nothing");
        assert_eq!(owed(&debt(1, 0)), "1 order");
        assert_eq!(owed(&debt(0, 2000)), "2,000 pieces, 2.0 MB");
        assert_eq!(owed(&debt(2, 1)), "1 piece, 1.0 kB; 2 orders");
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

//! How a status report looks: labelled lines of at most 80 columns, and a table of the nodes.

use comfy_table::{CellAlignment, ContentArrangement, Table};

use super::{background, words};
use crate::cmd::env::size;
use crate::core::health::State as NodeState;
use crate::core::path::printable;
use crate::core::status::{NodeStatus, Status};

/// The most columns.
const WIDTH: usize = 80;

/// The columns of a label and what follows it.
const LABEL: usize = 13;

/// The whole report, without the end of its last line. `server` is the one that gave it.
pub(super) fn render(report: &Status, server: &str) -> String {
    let mut lines = Vec::new();
    labelled("state", &words::headline(report), &mut lines);
    labelled("server", server, &mut lines);
    for trouble in &report.troubles {
        let [status, action] = words::trouble(trouble, &report.unreadable);
        labelled("status", &status, &mut lines);
        labelled("action", &action, &mut lines);
    }
    labelled("files", &words::sums(report), &mut lines);
    for (label, text) in report.upkeep.iter().flat_map(background::lines) {
        labelled(label, &text, &mut lines);
    }
    lines.extend(nodes(&report.nodes));
    lines.join("\n")
}

/// Adds a label and a text, which is broken between words where it is too long.
fn labelled(label: &str, text: &str, lines: &mut Vec<String>) {
    let mut head = format!("{label:>width$}: ", width = LABEL - 2);
    for line in text.lines() {
        for part in wrapped(line, WIDTH - LABEL) {
            lines.push(format!("{head}{part}"));
            head = " ".repeat(LABEL);
        }
    }
}

/// Breaks a line between words; a word that is too long is left whole, so that it can be copied.
fn wrapped(line: &str, width: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = line;
    while rest.chars().count() > width {
        let end = rest.char_indices().nth(width).map_or(rest.len(), |(at, _)| at);
        // The blank behind the last word that fits, or behind the first one.
        let at = rest[..=end.min(rest.len() - 1)].rfind(' ').or_else(|| rest.find(' '));
        let Some(at) = at.filter(|at| !rest[..*at].trim().is_empty()) else { break };
        parts.push(rest[..at].trim_end());
        rest = rest[at..].trim_start();
    }
    parts.push(rest);
    parts
}

fn nodes(nodes: &[NodeStatus]) -> Vec<String> {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(["node", "state", "address", "free", "errors", "last seen"]);
    for node in nodes {
        table.add_row(row(node));
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
        if matches!(column.index, 3 | 4) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table.lines().map(|line| format!("       {}", line.trim_end())).collect()
}

fn row(node: &NodeStatus) -> [String; 6] {
    let state = match node.state {
        NodeState::Up | NodeState::Probation if !node.trusted => "behind",
        NodeState::Up => "up",
        NodeState::Late => "late",
        NodeState::Probation => "unsteady",
        NodeState::Down => "down",
        NodeState::Unknown => "unknown",
    };
    let seen = match (node.state, node.silent_ms) {
        (NodeState::Up | NodeState::Probation, _) => "now".to_owned(),
        (_, Some(silent_ms)) => format!("{} ago", words::span(silent_ms)),
        (_, None) => "never".to_owned(),
    };
    [
        node.node.to_string(),
        state.to_owned(),
        printable(&node.address),
        node.room.map_or("?".to_owned(), |room| size(room.free_bytes)),
        words::grouped(node.errors),
        seen,
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::status::{Debt, State, Stored, Trouble};
    use crate::core::types::NodeId;
    use crate::core::wire::node::{DiskTrouble, Room};

    fn report() -> Status {
        let node = |node: NodeId| NodeStatus {
            node,
            state: NodeState::Up,
            address: format!("127.0.0.1:5113{node}"),
            silent_ms: Some(120),
            room: Some(Room {
                free_bytes: 341_000_000_000,
                total_bytes: 500_000_000_000,
                spare_bytes: 340_000_000_000,
            }),
            errors: 0,
            owed: Debt::default(),
            trusted: true,
        };
        Status {
            state: State::Healthy,
            can_store: true,
            nodes_to_spare: 2,
            files: Stored { count: 18_204, bytes: 412_000_000_000, unreadable: 0 },
            owed: Debt::default(),
            troubles: Vec::new(),
            nodes: NodeId::ALL.map(node).into(),
            unreadable: Vec::new(),
            upkeep: None,
            version: None,
            now_ms: None,
        }
    }

    #[test]
    fn all_is_well_in_a_few_lines() {
        let expected =
            "\x20     state: HEALTHY  every file is readable; files can be stored; 2 more nodes
             may be lost
     server: 127.0.0.1:17777
      files: 18,204 in 412.0 GB     owed: nothing
       node  state  address              free  errors  last seen
       1     up     127.0.0.1:51131  341.0 GB       0  now
       2     up     127.0.0.1:51132  341.0 GB       0  now
       3     up     127.0.0.1:51133  341.0 GB       0  now
       4     up     127.0.0.1:51134  341.0 GB       0  now";
        assert_eq!(render(&report(), "127.0.0.1:17777"), expected);
    }

    #[test]
    fn what_is_wrong_is_followed_by_what_to_do() {
        let mut report = report();
        report.state = State::Degraded;
        report.nodes_to_spare = 1;
        report.owed = Debt { pieces: 31, piece_bytes: 2_100_000_000 };
        let away = NodeId::ALL[1];
        let why = "connection refused".to_owned();
        report.troubles = vec![Trouble::NodeAway { node: away, silent_ms: Some(192_000), why }];
        (report.nodes[1].state, report.nodes[1].silent_ms) = (NodeState::Down, Some(192_000));
        report.nodes[1].errors = 1234;
        let expected =
            "\x20     state: DEGRADED  every file is readable; files can be stored; 1 more node
             may be lost
     server: 127.0.0.1:17777
     status: node 2 has not answered for 3m12s (connection refused)
     action: start it:  palk storage --id 2
             or replace it:  palk admin replace 2 --to HOST:PORT
      files: 18,204 in 412.0 GB     owed: 31 pieces, 2.1 GB
       node  state  address              free  errors  last seen
       1     up     127.0.0.1:51131  341.0 GB       0  now
       2     down   127.0.0.1:51132  341.0 GB   1,234  3m12s ago
       3     up     127.0.0.1:51133  341.0 GB       0  now
       4     up     127.0.0.1:51134  341.0 GB       0  now";
        assert_eq!(render(&report, "127.0.0.1:17777"), expected);
    }

    #[test]
    fn no_line_is_wider_than_a_terminal() {
        let mut report = report();
        report.state = State::Unavailable;
        report.files.unreadable = 18_204;
        report.unreadable = vec!["/demo/a".into(), "/demo/b".into()];
        let nodes = NodeId::ALL.to_vec();
        let why = "a long reason, word for word, ".repeat(5);
        let node = NodeId::ALL[3];
        report.troubles = vec![
            Trouble::Unreadable { files: 18_204 },
            Trouble::Damaged { files: 1 },
            Trouble::CatalogInDoubt,
            Trouble::ServerFull,
            Trouble::ChangeInDoubt,
            Trouble::NotLeading,
            Trouble::NodeCatchingUp { node },
            Trouble::NodeAway { node, silent_ms: None, why },
            Trouble::PiecesOwed {
                nodes,
                pieces: u64::MAX,
                bytes: u64::MAX,
                why: Some("a long reason ".repeat(9)),
            },
            Trouble::NodeDisk { node, cause: DiskTrouble::NoInodes },
            Trouble::NodeDisk { node, cause: DiskTrouble::NotWritable("/srv".into()) },
            Trouble::NodeDisk { node, cause: DiskTrouble::Failing("a reason ".repeat(9)) },
            Trouble::NodeDisk { node, cause: DiskTrouble::Full("a reason ".repeat(9)) },
            Trouble::NodeFull { node, spare_bytes: 0 },
            Trouble::NodeFull { node, spare_bytes: 1_000_000 },
            Trouble::JournalBehind { node, why: "a long reason ".repeat(9) },
            Trouble::Unknown,
        ];
        let text = render(&report, "127.0.0.1:17777");
        for line in text.lines() {
            assert!(line.chars().count() <= WIDTH, "{} columns: {line}", line.chars().count());
        }
        assert!(text.contains("\n             /demo/b and 18,202 more\n"), "{text}");
    }

    #[test]
    fn a_long_word_stays_whole() {
        assert_eq!(wrapped("ab cd ef", 5), ["ab cd", "ef"]);
        assert_eq!(wrapped("abcdefgh ij", 5), ["abcdefgh", "ij"]);
        assert_eq!(wrapped("abcdefgh", 5), ["abcdefgh"]);
        assert_eq!(wrapped("é é é", 3), ["é é", "é"]);
        assert_eq!(wrapped("", 3), [""]);
    }
}

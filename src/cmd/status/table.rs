//! How a status report looks: labelled lines of a width, and a table of the nodes.

use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table};
use unicode_width::UnicodeWidthStr;

use super::{background, words};
use crate::cmd::env::size;
use crate::core::health::State as NodeState;
use crate::core::path::printable;
use crate::core::status::{NodeStatus, Status};

/// The width of a report that is not shown on a screen of its own.
const WIDTH: usize = 80;

/// Below this width there is no room for blanks at the beginning of lines.
pub(super) const NARROW: usize = 60;

/// The blanks before the table of the nodes.
const INDENT: usize = 7;

/// Columns of that table, in the order in which they are left out where it is too wide.
const LESS_IMPORTANT: [usize; 3] = [4, 2, 5];

/// The whole report, without the end of its last line. `server` is the one that gave it.
pub(super) fn render(report: &Status, server: &str) -> String {
    let mut sheet = Sheet::new(WIDTH);
    sheet.say("state", &words::headline(report));
    sheet.say("server", server);
    for trouble in &report.troubles {
        let [status, action] = words::trouble(trouble, &report.unreadable);
        sheet.say("status", &status);
        sheet.say("action", &action);
    }
    sheet.say("files", &words::sums(report));
    for (label, text) in report.upkeep.iter().flat_map(background::lines) {
        sheet.say(label, &text);
    }
    sheet.lines.extend(nodes(&report.nodes, usize::MAX));
    sheet.lines.join("\n")
}

/// Lines of a width, most of them with a label.
pub(super) struct Sheet {
    width: usize,
    /// The columns of a label and what follows it.
    label: usize,
    pub(super) lines: Vec<String>,
}

impl Sheet {
    pub(super) fn new(width: usize) -> Sheet {
        let label = if width < NARROW { 9 } else { 13 };
        Sheet { width, label, lines: Vec::new() }
    }

    /// Adds a label and a text, which is broken between words where it is too long.
    pub(super) fn say(&mut self, label: &str, text: &str) {
        let mut head = format!("{label:>width$}: ", width = self.label - 2);
        for line in text.lines() {
            for part in wrapped(line, self.width.saturating_sub(self.label)) {
                self.lines.push(format!("{head}{part}"));
                head = " ".repeat(self.label);
            }
        }
    }
}

/// Breaks a line between words; a word that is too long is left whole, so that it can be copied.
fn wrapped(line: &str, width: usize) -> Vec<&str> {
    let mut parts = Vec::new();
    let mut rest = line;
    while rest.chars().count() > width {
        // The blank behind the last word that fits, or behind the first one.
        let blanks = rest.char_indices().take(width + 1).filter(|(_, c)| *c == ' ');
        let at = blanks.last().map(|(at, _)| at).or_else(|| rest.find(' '));
        let Some(at) = at.filter(|at| !rest[..*at].trim().is_empty()) else { break };
        parts.push(rest[..at].trim_end());
        rest = rest[at..].trim_start();
    }
    parts.push(rest);
    parts
}

/// The nodes as a table, with the columns that there is room for.
pub(super) fn nodes(nodes: &[NodeStatus], width: usize) -> Vec<String> {
    let indent = if width < NARROW { 0 } else { INDENT };
    let mut lines = Vec::new();
    for left_out in 0..=LESS_IMPORTANT.len() {
        lines = nodes_without(nodes, &LESS_IMPORTANT[..left_out], indent);
        if lines.iter().all(|line| line.width() <= width) {
            break;
        }
    }
    lines
}

fn nodes_without(nodes: &[NodeStatus], left_out: &[usize], indent: usize) -> Vec<String> {
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
        if left_out.contains(&column.index) {
            column.set_constraint(ColumnConstraint::Hidden);
        }
    }
    table.lines().map(|line| format!("{:indent$}{}", "", line.trim_end())).collect()
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
pub(super) mod tests {
    use super::*;
    use crate::core::status::{Debt, State, Stored, Trouble};
    use crate::core::types::NodeId;
    use crate::core::wire::node::{DiskTrouble, Room};

    /// A cluster in which all is well.
    pub(in super::super) fn report() -> Status {
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
            transfers: None,
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
        assert_eq!(wrapped("éééé é", 3), ["éééé", "é"]);
        assert_eq!(wrapped("", 3), [""]);
    }
}

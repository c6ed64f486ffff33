//! How a cluster that is watched is shown: as a screen, as a plain line, as an object for programs.
//!
//! Pure functions of what is known. No line is wider than the screen, and there are no more lines than it
//! has rows; what is less important is left out.

use std::time::Duration;

use serde_json::{Value, json};
use unicode_width::UnicodeWidthStr;

use super::background::{part, scrub_far};
use super::object;
use super::table::{NARROW, Sheet, nodes};
use super::target::Server;
use super::view::{View, flow};
use super::words::{counted, headline, owed, span, state, sums, trouble};
use crate::cmd::env::{beginning, shown_rate};
use crate::cmd::failure::Stop;
use crate::core::error::Code;
use crate::core::health::State as NodeState;
use crate::core::path::printable;
use crate::core::status::{Direction, RunningTransfer, Status, Transfers};

/// What stands below everything.
const FOOTER: &str = "q leaves";

/// The screen, line by line.
pub(super) fn screen(
    view: &View,
    server: &Server,
    now: Duration,
    [width, height]: [usize; 2],
) -> Vec<String> {
    let mut sheet = Sheet::new(width);
    if let Some((silent, why)) = view.silence(now) {
        sheet.say("server", &format!("{}; it is asked every second", silence(server, silent, why)));
    } else {
        report(&view.report, server, &mut sheet);
        sheet.lines.extend(nodes(&view.report.nodes, width));
        sheet.lines.push(String::new());
        sheet.say("traffic", &traffic(view));
        // The last two are a blank line and what stands below everything.
        let room = height.saturating_sub(sheet.lines.len() + 2);
        sheet.lines.extend(transfers(view, width, room));
    }
    let mut lines = sheet.lines;
    lines.truncate(height.saturating_sub(2));
    lines.extend([String::new(), FOOTER.to_owned()]);
    lines.drain(..lines.len().saturating_sub(height));
    lines.iter().map(|line| beginning(line, width).to_owned()).collect()
}

fn report(report: &Status, server: &Server, sheet: &mut Sheet) {
    sheet.say("state", &headline(report));
    sheet.say("server", &server.shown());
    for one in &report.troubles {
        // What to do about it is what `palk status` is for.
        let [status, _] = trouble(one, &report.unreadable);
        sheet.say("status", &status);
    }
    sheet.say("files", &sums(report));
    let scrub = report.upkeep.as_ref().and_then(|upkeep| upkeep.scrub.as_ref());
    if let Some(scrub) = scrub.filter(|scrub| scrub.ended_ms_ago.is_none()) {
        sheet.say("scrub", &scrub_far(scrub));
    }
}

fn silence(server: &Server, silent: Duration, why: &str) -> String {
    let silent = span(u64::try_from(silent.as_millis()).unwrap_or(u64::MAX));
    format!("{} has not answered for {silent} ({})", server.shown(), printable(why))
}

/// How many transfers run, and how fast: `1 store at 10.0 MB/s, 2 reads at 85.3 MB/s`.
fn traffic(view: &View) -> String {
    if view.report.transfers.is_none() {
        return "this server does not tell it".to_owned();
    }
    let directions = [(Direction::Store, "store"), (Direction::Retrieve, "read")];
    let parts = directions.map(|(direction, word)| {
        let running = flow(view.transfers(), direction).running;
        let at = match view.flow_rate(direction) {
            Some(rate) if running > 0 || rate > 0 => format!(" at {}", shown_rate(rate)),
            _ => String::new(),
        };
        format!("{}{at}", counted(running, word))
    });
    parts.join(", ")
}

/// A line for each transfer, as many as there is room for. Where those are not all, the last line says how
/// many are not shown.
fn transfers(view: &View, width: usize, room: usize) -> Vec<String> {
    let Transfers { stores, retrievals, running } = view.transfers();
    let all = usize::try_from(stores.running.saturating_add(retrievals.running));
    let all = all.unwrap_or(usize::MAX);
    if running.is_empty() || room == 0 {
        return Vec::new();
    }
    let most = if running.len() >= all && all <= room { room } else { room - 1 };
    let shown = &running[..running.len().min(most)];
    let mut lines: Vec<String> = shown.iter().map(|one| transfer(view, one, width)).collect();
    if shown.len() < all {
        lines.push(format!("  and {} more", all - shown.len()));
    }
    lines
}

/// `  /demo/film.mkv     store   41 %    412.0 MB of 1.0 GB    10.0 MB/s`; how many bytes only where there is
/// room for it.
fn transfer(view: &View, one: &RunningTransfer, width: usize) -> String {
    let word = match one.direction {
        Direction::Store => "store",
        Direction::Retrieve => "read",
    };
    let percent = u128::from(one.bytes) * 100;
    let percent = percent.checked_div(u128::from(one.total_bytes)).unwrap_or(100);
    let rate = view.rate(one).map(shown_rate).unwrap_or_default();
    let (indent, far) = match width {
        ..NARROW => ("", String::new()),
        _ => ("  ", format!("  {:>19}", part(one.bytes, one.total_bytes))),
    };
    let facts = format!("  {word:5}  {percent:>3} %{far}  {rate:>10}");
    let name = ending(&printable(&one.name), width.saturating_sub(indent.len() + facts.len()));
    format!("{indent}{name}{facts}")
}

/// A text that fills a width: with blanks behind it, or without its beginning.
fn ending(text: &str, width: usize) -> String {
    let mut shown = text.to_owned();
    if text.width() > width {
        let mut rest = text.chars();
        while rest.as_str().width() >= width && rest.next().is_some() {}
        shown = format!("…{}", rest.as_str());
    }
    let blanks = width.saturating_sub(shown.width());
    format!("{shown}{:blanks$}", "")
}

/// A plain line; `time` is that of the clock.
pub(super) fn line(view: &View, server: &Server, now: Duration, time: &str) -> String {
    if let Some((silent, why)) = view.silence(now) {
        return format!("{time}  {}", silence(server, silent, why));
    }
    let Status { state: now, nodes, owed: debt, .. } = &view.report;
    let is_up = |state| matches!(state, NodeState::Up | NodeState::Probation);
    let up = nodes.iter().filter(|node| is_up(node.state)).count();
    let (traffic, owed) = (traffic(view), owed(debt));
    format!("{time}  {}  {up} of 4 nodes up  {traffic}  owed: {owed}", state(*now))
}

/// The type of an object for programs, and the object.
pub(super) fn for_programs(
    view: &View,
    server: &Server,
    now: Duration,
) -> Result<(&'static str, Value), Stop> {
    if let Some((silent, why)) = view.silence(now) {
        let silent_ms = u64::try_from(silent.as_millis()).unwrap_or(u64::MAX);
        let code = Code::Unreachable.exit_status();
        return Ok(("silent", json!({"code": code, "message": why, "silent_ms": silent_ms})));
    }
    let mut object = object(&view.report, server)?;
    if view.report.transfers.is_none() {
        return Ok(("status", object));
    }
    let told = &mut object["transfers"];
    for (key, direction) in [("stores", Direction::Store), ("retrievals", Direction::Retrieve)] {
        told[key]["bytes_per_second"] = view.flow_rate(direction).into();
    }
    for (at, one) in view.transfers().running.iter().enumerate() {
        told["running"][at]["bytes_per_second"] = view.rate(one).into();
    }
    Ok(("status", object))
}

#[cfg(test)]
mod tests {
    use super::super::table::tests::report;
    use super::super::view::tests::transfer;
    use super::*;
    use crate::core::status::{Debt, Flow, State, Trouble};
    use crate::core::types::NodeId;

    const SECOND: Duration = Duration::from_secs(1);

    fn of_folder() -> Server {
        Server::OfFolder("user_database".into())
    }

    /// A store and a read, one node down.
    fn busy() -> View {
        let film = RunningTransfer { name: "/demo/holiday/film.mkv".into(), ..transfer(1, 0, 0) };
        let film = RunningTransfer { total_bytes: 1_000_000_000, ..film };
        let photo = RunningTransfer {
            name: "/ann/photos/2026/a long name of a picture\x1b[2J.jpg".into(),
            direction: Direction::Retrieve,
            total_bytes: 62_000_000,
            ..transfer(2, 0, 3000)
        };
        let mut report = report();
        report.state = State::Degraded;
        report.nodes_to_spare = 1;
        report.owed = Debt { pieces: 31, piece_bytes: 2_100_000_000 };
        let why = "connection refused".to_owned();
        report.troubles =
            vec![Trouble::NodeAway { node: NodeId::ALL[1], silent_ms: Some(192_000), why }];
        (report.nodes[1].state, report.nodes[1].silent_ms) = (NodeState::Down, Some(192_000));
        let mut view = View::new(Duration::ZERO, report.clone());
        for second in 0..=3 {
            let film = RunningTransfer { bytes: second * 10_000_000, ..film.clone() };
            let stores = Flow { running: 1, bytes: second * 10_000_000 };
            let retrievals = Flow { running: 1, bytes: second * 20_000_000 };
            let photo = RunningTransfer { bytes: second * 20_000_000, ..photo.clone() };
            let running = vec![film, photo];
            let transfers = Some(Transfers { stores, retrievals, running });
            let now = SECOND * u32::try_from(second).unwrap();
            view.answered(now, Status { transfers, ..report.clone() });
        }
        view
    }

    fn shown(view: &View, now: Duration, size: [usize; 2]) -> String {
        let lines = screen(view, &of_folder(), now, size);
        assert!(lines.len() <= size[1], "{lines:?}");
        lines.iter().for_each(|line| assert!(line.width() <= size[0], "{line}"));
        lines.join("\n")
    }

    #[test]
    fn a_screen_of_80_columns() {
        let expected =
            "\x20     state: DEGRADED  every file is readable; files can be stored; 1 more node
             may be lost
     server: the one of the folder user_database
     status: node 2 has not answered for 3m12s (connection refused)
      files: 18,204 in 412.0 GB     owed: 31 pieces, 2.1 GB
       node  state  address              free  errors  last seen
       1     up     127.0.0.1:51131  341.0 GB       0  now
       2     down   127.0.0.1:51132  341.0 GB       0  3m12s ago
       3     up     127.0.0.1:51133  341.0 GB       0  now
       4     up     127.0.0.1:51134  341.0 GB       0  now

    traffic: 1 store at 10.0 MB/s, 1 read at 20.0 MB/s
  /demo/holiday/film.mkv           store    3 %    30.0 MB of 1.0 GB   10.0 MB/s
  …name of a picture\\u{1b}[2J.jpg  read    96 %      60.0 of 62.0 MB   20.0 MB/s

q leaves";
        assert_eq!(shown(&busy(), 3 * SECOND, [80, 24]), expected);
    }

    #[test]
    fn a_screen_of_40_columns() {
        let expected = "  state: DEGRADED  every file is
         readable; files can be stored;
         1 more node may be lost
 server: the one of the folder
         user_database
 status: node 2 has not answered for
         3m12s (connection refused)
  files: 18,204 in 412.0 GB     owed: 31
         pieces, 2.1 GB
node  state      free  last seen
1     up     341.0 GB  now
2     down   341.0 GB  3m12s ago
3     up     341.0 GB  now
4     up     341.0 GB  now

traffic: 1 store at 10.0 MB/s, 1 read at
         20.0 MB/s
…iday/film.mkv  store    3 %   10.0 MB/s
…\\u{1b}[2J.jpg  read    96 %   20.0 MB/s

q leaves";
        assert_eq!(shown(&busy(), 3 * SECOND, [40, 24]), expected);
    }

    #[test]
    fn a_screen_that_is_low_counts_what_it_does_not_show() {
        let view = busy();
        let text = shown(&view, 3 * SECOND, [80, 15]);
        assert!(text.ends_with("at 20.0 MB/s\n  and 2 more\n\nq leaves"), "{text}");
        for size in [[80, 8], [20, 10], [1, 3], [80, 1], [0, 0]] {
            shown(&view, 3 * SECOND, size);
        }
        // A server that knows more of them than it names.
        let mut report = view.report.clone();
        if let Some(transfers) = &mut report.transfers {
            transfers.retrievals.running = 100;
        }
        let text = shown(&View::new(3 * SECOND, report), 3 * SECOND, [80, 24]);
        assert!(text.contains("jpg  read ") && text.contains("\n  and 99 more\n"), "{text}");
    }

    #[test]
    fn a_server_that_is_silent_is_shown_calmly() {
        let mut view = busy();
        view.failed("connection refused\x1b".into());
        let expected =
            "\x20    server: the one of the folder user_database has not answered for 12s
             (connection refused\\u{1b}); it is asked every second

q leaves";
        assert_eq!(shown(&view, 15 * SECOND, [80, 24]), expected);
        assert_eq!(
            line(&view, &of_folder(), 15 * SECOND, "23:04:05"),
            "23:04:05  the one of the folder user_database has not answered for 12s (connection \
             refused\\u{1b})"
        );
        let (kind, object) = for_programs(&view, &of_folder(), 15 * SECOND).unwrap();
        assert_eq!(
            (kind, &object["code"], &object["silent_ms"]),
            ("silent", &6.into(), &12_000.into())
        );
    }

    #[test]
    fn a_line_and_an_object_for_those_who_have_no_screen() {
        assert_eq!(
            line(&busy(), &of_folder(), 3 * SECOND, "23:04:05"),
            "23:04:05  DEGRADED  3 of 4 nodes up  1 store at 10.0 MB/s, 1 read at 20.0 MB/s  owed: 31 \
             pieces, 2.1 GB"
        );
        let (kind, object) = for_programs(&busy(), &of_folder(), 3 * SECOND).unwrap();
        assert_eq!((kind, &object["code"]), ("status", &20.into()));
        let told = &object["transfers"];
        assert_eq!(told["stores"]["bytes_per_second"], 10_000_000);
        assert_eq!(told["running"][0]["bytes_per_second"], 10_000_000);
        assert_eq!(told["running"][0]["name"], "/demo/holiday/film.mkv");
        // A server that tells nothing of transfers.
        let (_, object) = for_programs(&View::new(SECOND, report()), &of_folder(), SECOND).unwrap();
        assert_eq!(object["transfers"], Value::Null);
    }

    #[test]
    fn a_name_is_cut_at_its_beginning_by_what_it_takes_on_a_screen() {
        assert_eq!(ending("/demo/a.txt", 13), "/demo/a.txt  ");
        assert_eq!(ending("/demo/a.txt", 6), "…a.txt");
        assert_eq!(ending("/demo/映画.mkv", 10), "…/映画.mkv");
        assert_eq!(ending("/demo/映画.mkv", 9), "…映画.mkv");
        assert_eq!(ending("/demo/映画.mkv", 8), "…画.mkv ");
        assert_eq!(ending("/demo/a", 1), "…");
        assert_eq!(beginning("映画", 3), "映");
    }
}

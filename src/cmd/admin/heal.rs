//! `palk admin heal`: every piece that nodes lack, rebuilt now.

use clap::Args;

use super::Common;
use super::follow::{Ended, Following, end, follow};
use crate::cmd::env::{Env, size};
use crate::cmd::failure::Stop;
use crate::cmd::status::{counted, owed as owed_words};
use crate::core::path::printable;
use crate::core::status::Debt;
use crate::core::wire::admin::{Verb, parse};
use crate::core::wire::reports::{Healing, Remaining};

const AFTER_HELP: &str = "\
Exit status: 0 no piece is missing any more; 20 something cannot be done now, such as for a
  node that is away; 6 no server. Ctrl-C leaves the healing to the server.";

const LEFT: &str = "healing goes on in the server; see:  palk status";

/// Rebuild every piece that a node lacks now, without waiting for any pause
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Heal {}

impl Heal {
    /// Has all tried, and waits.
    ///
    /// # Errors
    /// If nobody can be asked; 20 as an exit status.
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let following = Following {
            label: "heal",
            when_left: LEFT,
            begins: &|fields| Ok(format!("Healing: {}", far(&parse(fields)?).1)),
            far: &|fields| Ok(far(&parse(fields)?)),
        };
        let asked = follow::<Healing>(common, env, &Verb::Heal, &following);
        let Ended { code, report } = asked.map_err(|(_, stop)| stop)?;
        if report.pieces > 0 {
            let (pieces, bytes) = (counted(report.pieces, "piece"), size(report.bytes_read));
            env.note(&format!("Rebuilt {pieces}, {bytes} read from other nodes for that"));
        }
        tell_remaining(env, &report.remaining);
        match (code, report.owed) {
            (0, owed) if owed == Debt::default() => env.note("No node lacks a piece."),
            (0, owed) => env.note(&format!("On its way: {}", owed_words(&owed))),
            (_, owed) => env.note(&format!("Still missing: {}", owed_words(&owed))),
        }
        end(code)
    }
}

fn far(healing: &Healing) -> (u64, String) {
    let all = healing.pieces.saturating_add(healing.owed.pieces);
    let percent = (healing.pieces.saturating_mul(100)).checked_div(all).unwrap_or(100);
    let read = size(healing.bytes_read);
    (percent, format!("{} left, {read} read from other nodes", owed_words(&healing.owed)))
}

/// Says what cannot be given to which node, and why.
pub(super) fn tell_remaining(env: &mut Env, remaining: &[Remaining]) {
    for one in remaining {
        let (node, owed, why) = (one.node, owed_words(&one.owed), printable(&one.why));
        let how = if one.up { "cannot be given" } else { "is away; it lacks" };
        env.note(&format!("node {node} {how} {owed} ({why})"));
        if !one.up {
            env.note(&format!(
                "  start it:  palk storage --id {node}   or:  palk admin replace {node} --to \
                 HOST:PORT"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::types::NodeId;

    #[test]
    fn what_is_owed_is_said_with_its_node_and_why() {
        let owed = Debt { pieces: 2, piece_bytes: 3_000_000 };
        let node = NodeId::ALL[1];
        let away = Remaining { node, up: false, owed, why: "connection\x1b refused".into() };
        let full = Remaining { up: true, why: "its disk is full".into(), ..away.clone() };
        let (mut env, screen) = Env::fake(&[], "");
        tell_remaining(&mut env, &[away, full]);
        let said = screen.err();
        let owed = "2 pieces, 3.0 MB";
        let first = format!("node 2 is away; it lacks {owed} (connection\\u{{1b}} refused)\n  st");
        assert!(said.starts_with(&first), "{said}");
        let last = format!("node 2 cannot be given {owed} (its disk is full)\n");
        assert!(said.ends_with(&last), "{said}");
    }

    #[test]
    fn progress_is_in_pieces() {
        let owed = Debt { pieces: 3, piece_bytes: 5_000_000 };
        let healing = Healing { pieces: 1, bytes_read: 2_000_000, owed, remaining: Vec::new() };
        let text = "3 pieces, 5.0 MB left, 2.0 MB read from other nodes";
        assert_eq!(far(&healing), (25, text.to_owned()));
        assert_eq!(far(&Healing::default()).0, 100);
    }
}

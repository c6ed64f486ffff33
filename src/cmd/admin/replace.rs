//! `palk admin replace`: a node replaced by an empty one, and proved whole.

use clap::Args;

use super::Common;
use super::follow::{Ended, Following, end, follow, list, with_hint};
use crate::cmd::env::{Env, size};
use crate::cmd::failure::{Failure, Stop};
use crate::cmd::status::{counted, grouped};
use crate::core::error::Code;
use crate::core::path::printable;
use crate::core::status::Replacing;
use crate::core::types::NodeId;
use crate::core::wire::admin::{Verb, parse};
use crate::core::wire::reports::Replaced;

const AFTER_HELP: &str = "\
Exit status: 0 every piece was read back from the new node's disk and matched; 3 that is not so
  yet; 9 refused, nothing was changed; 6 no server, or no node there. Ctrl-C leaves the
  replacement to the server; the same command follows it again.";

/// Put an empty node in the place of another one, and fill it
///
/// Start the new one first, with an empty folder:  palk storage --id N --dir NEW --listen HOST:PORT.
/// It may be at the address of the old one, if that is stopped. A node that has moved with its folder is
/// told to the server in the same way
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Replace {
    /// The node to replace, 1 to 4
    #[arg(value_name = "N")]
    node: NodeId,

    /// Where the new one is
    #[arg(long, value_name = "HOST:PORT")]
    to: String,

    /// Give up the files that need the old node's pieces
    #[arg(long)]
    force: bool,
}

impl Replace {
    /// Has the node replaced, and waits for the proof.
    ///
    /// # Errors
    /// If nobody can be asked, or it is refused; 3 as an exit status.
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let Replace { node, to, force } = self;
        let verb = Verb::Replace { node, to: to.clone(), force };
        let left = format!(
            "the replacement of node {node} goes on in the server; see:  palk status   or follow \
             it:  palk admin replace {node} --to {}",
            printable(&to)
        );
        let following = Following {
            label: "replace",
            when_left: &left,
            begins: &|fields| Ok(begins(&parse(fields)?)),
            far: &|fields| Ok(far(&parse::<Replaced>(fields)?.replacing)),
        };
        match follow::<Replaced>(common, env, &verb, &following) {
            Ok(ended) => tell(env, &ended),
            Err((items, stop)) => {
                list(env, &items)?;
                let hint = match &stop {
                    Stop::Failed(failure) => hint(failure, node, !items.is_empty()),
                    _ => None,
                };
                Err(match hint {
                    Some(hint) => with_hint(stop, &hint),
                    None => stop,
                })
            }
        }
    }
}

/// What to do about a refusal.
fn hint(failure: &Failure, node: NodeId, would_lose: bool) -> Option<String> {
    let wants_empty = || {
        format!("Nothing was changed. Start a new one:  palk storage --id {node} --dir NEW-FOLDER")
    };
    match failure.code {
        _ if would_lose => Some(
            "Nothing was changed. Bring back the nodes that are away, or give these files up with \
             --force."
                .to_owned(),
        ),
        Code::NotAllowed => Some(wants_empty()),
        // Said of the node; what is said of a missing server is right as it is.
        _ if failure.text.contains("cannot be replaced by") => Some(wants_empty()),
        _ => None,
    }
}

fn begins(report: &Replaced) -> String {
    let Replacing { node, address, pieces, .. } = &report.replacing;
    let how = if report.resumed { "is being replaced already" } else { "is being replaced" };
    let (address, pieces) = (printable(address), counted(*pieces, "piece"));
    format!("Node {node} {how} by the one at {address}: {pieces}")
}

fn far(replacing: &Replacing) -> (u64, String) {
    let pieces = counted(replacing.pieces, "piece");
    let part = |of: u64| (of.saturating_mul(100)).checked_div(replacing.pieces).unwrap_or(0);
    if replacing.owed > 0 {
        let done = replacing.pieces.saturating_sub(replacing.owed);
        let bytes = size(replacing.owed_bytes);
        let text = format!("rebuilt {} of {pieces}, {bytes} left", grouped(done));
        return (part(done) / 2, text);
    }
    let proved = replacing.proved;
    (50 + part(proved).min(100) / 2, format!("matched {} of {pieces}", grouped(proved)))
}

fn tell(env: &mut Env, ended: &Ended<Replaced>) -> Result<(), Stop> {
    let Ended { code, report } = ended;
    let Replacing { node, pieces, piece_bytes, done, .. } = report.replacing;
    if done {
        let (pieces, bytes) = (counted(pieces, "piece"), size(piece_bytes));
        env.note(&format!(
            "Node {node} is replaced: {pieces}, {bytes}, every one read back from its disk and \
             matched."
        ));
        return end(*code);
    }
    if report.untold > 0 {
        env.note(&format!("... and {} more", report.untold));
    }
    let why = report.why.as_deref().unwrap_or("it takes longer");
    if env.manner().json {
        return end(*code);
    }
    let text = format!("node {node} is not whole yet: {why}");
    let hint = "It goes on in the server. See:  palk status   or follow it with the same command.";
    env.tell(&Failure::new(Code::SomeFailed, text).hint(hint));
    end(*code)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn replacing() -> Replacing {
        Replacing {
            node: NodeId::ALL[1],
            address: "10.0.0.9:1".into(),
            done: false,
            pieces: 18_204,
            piece_bytes: 206_000_000_000,
            owed: 9_102,
            owed_bytes: 103_000_000_000,
            proved: 0,
            not_whole: 0,
        }
    }

    #[test]
    fn rebuilding_is_one_half_and_the_proof_the_other() {
        let mut one = replacing();
        let text = "rebuilt 9,102 of 18,204 pieces, 103.0 GB left";
        assert_eq!(far(&one), (25, text.to_owned()));
        (one.owed, one.proved) = (0, 9_102);
        assert_eq!(far(&one), (75, "matched 9,102 of 18,204 pieces".to_owned()));
        one.pieces = 0;
        assert_eq!(far(&one).0, 50);
    }

    #[test]
    fn success_is_said_only_of_what_is_proved() {
        let (mut env, screen) = Env::fake(&[], "");
        let (resumed, why, untold) = (false, None, 0);
        let replacing = Replacing { done: true, ..replacing() };
        let report = Replaced { resumed, replacing, why, untold };
        tell(&mut env, &Ended { code: 0, report: report.clone() }).unwrap();
        let expected = "Node 2 is replaced: 18,204 pieces, 206.0 GB, every one read back from its \
                        disk and matched.\n";
        assert_eq!(screen.err(), expected);
        let (mut env, screen) = Env::fake(&[], "");
        let why = Some("it does not answer".to_owned());
        let replacing = Replacing { done: false, ..report.replacing };
        let report = Replaced { resumed: true, replacing, why, untold: 2 };
        let Err(Stop::Ended(3)) = tell(&mut env, &Ended { code: 3, report }) else { panic!() };
        assert!(screen.err().contains("error: node 2 is not whole yet: it does not answer\n  It"));
        assert!(!screen.err().contains("is replaced"), "{}", screen.err());
    }
}

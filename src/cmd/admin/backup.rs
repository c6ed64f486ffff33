//! `palk admin backup`: the user database's snapshot on every node, now.

use clap::Args;

use super::Common;
use super::follow::{Ended, Following, end, follow};
use crate::cmd::env::Env;
use crate::cmd::failure::Stop;
use crate::core::path::printable;
use crate::core::types::NodeSet;
use crate::core::wire::admin::Verb;
use crate::core::wire::reports::BackedUp;

const AFTER_HELP: &str = "\
Exit status: 0 all four nodes have it; 20 some could not be given it; 6 no server.";

const LEFT: &str = "the server goes on with the backup; see:  palk status";

/// Give every node a snapshot of the user database now
#[derive(Args, Debug)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Backup {}

impl Backup {
    /// Has it made, and says who has it.
    ///
    /// # Errors
    /// If nobody can be asked; 20 as an exit status.
    pub(super) fn run(self, common: &Common, env: &mut Env) -> Result<(), Stop> {
        let far = |_| Ok((0, "sending the snapshot to the nodes".to_owned()));
        let begins = |_| Ok("Making a snapshot of the user database".to_owned());
        let following = Following { label: "backup", when_left: LEFT, begins: &begins, far: &far };
        let asked = follow::<BackedUp>(common, env, &Verb::Backup, &following);
        let Ended { code, report } = asked.map_err(|(_, stop)| stop)?;
        tell(env, &report);
        end(code)
    }
}

fn tell(env: &mut Env, report: &BackedUp) {
    let nodes: NodeSet = report.nodes.iter().copied().collect();
    env.note(&format!("The user database is backed up on {nodes}."));
    for without in &report.without {
        let (node, why) = (without.node, printable(&without.why));
        env.note(&format!("  node {node} could not be given it: {why}; it gets it when it can"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::types::NodeId;
    use crate::core::wire::reports::Without;

    #[test]
    fn who_has_it_and_who_has_not_is_said() {
        let (mut env, screen) = Env::fake(&[], "");
        let without = vec![Without { node: NodeId::ALL[3], why: "connection refused".into() }];
        tell(&mut env, &BackedUp { nodes: NodeId::ALL[..3].to_vec(), without });
        let expected = "The user database is backed up on nodes 1, 2 and 3.\n  node 4 could not be \
                        given it: connection refused; it gets it when it can\n";
        assert_eq!(screen.err(), expected);
    }
}

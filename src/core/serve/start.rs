//! Before a server starts: the nodes are asked whether another one is at work.

use std::path::Path;
use std::thread;

use crate::core::catalog::Catalog;
use crate::core::cluster::link;
use crate::core::error::{Code, Error, Result};
use crate::core::fence::{self, Decision, LOOK_AGAIN_AFTER, Look, Own, Refusal};
use crate::core::io::tls::Connector;
use crate::core::wire::node::Serves;

/// The epoch that a server with this catalog may register with.
///
/// # Errors
/// [`Code::NotAllowed`], with what to do: another server is at work, or the catalog is empty and the
/// nodes are not. Nothing has been changed then.
pub(super) fn settle_epoch(
    catalog: &Catalog,
    nodes: &[String; 4],
    connector: Option<&Connector>,
    folder: &Path,
    take_over: bool,
) -> Result<u64> {
    let own = Own {
        cluster: catalog.cluster(),
        is_empty: catalog.is_empty()?,
        last: catalog.last_claim()?,
    };
    let mut look = Look::First;
    loop {
        match fence::decide(own, &ask(nodes, connector), look, take_over) {
            Decision::Start { epoch, is_behind } => {
                if is_behind {
                    tracing::warn!(
                        "another server has served these nodes since this user database was last in \
                         use; what was changed there is taken up from the nodes' journals"
                    );
                }
                return Ok(epoch);
            }
            Decision::LookAgain => {
                tracing::info!(
                    "the last server with this user database did not end in an orderly way; looking \
                     whether it still runs"
                );
                thread::sleep(LOOK_AGAIN_AFTER);
                look = Look::Again;
            }
            Decision::Refuse(why) => {
                return Err(Error::other(Code::NotAllowed, text(why, nodes, folder)));
            }
        }
    }
}

/// What the nodes say that are there. The others are no hindrance.
fn ask(nodes: &[String; 4], connector: Option<&Connector>) -> Vec<Serves> {
    let told = |error: &Error| tracing::debug!("not asked whom it serves: {error}");
    link::who_serves_all(nodes, connector)
        .into_iter()
        .filter_map(|asked| asked.inspect_err(told).ok())
        .collect()
}

fn text(why: Refusal, nodes: &[String; 4], folder: &Path) -> String {
    let dir = folder.display();
    match why {
        Refusal::Recover(node) => {
            let named: Vec<String> = nodes.iter().map(|node| format!("--node {node}")).collect();
            format!(
                "node {node} at {} holds the files of a cluster, but the user database in {dir} is \
                 empty; nothing was changed. If the database was lost, make it anew from the nodes:  \
                 palk admin recover --dir {dir} {}",
                nodes[node.index()],
                named.join(" ")
            )
        }
        Refusal::Running { node, ago, is_copy } => {
            let (seconds, who) = (
                ago.as_secs_f64(),
                if is_copy {
                    "a server with a copy of this user database"
                } else {
                    "another server"
                },
            );
            format!(
                "{who} is at work: node {node} heard of it {seconds:.1} s ago. Stop it, or end it from \
                 here:  palk server --take-over"
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::types::NodeId;
    use std::time::Duration;

    #[test]
    fn a_refusal_says_what_to_do() {
        let nodes = ["a:1", "b:2", "c:3", "d:4"].map(str::to_owned);
        let said = text(Refusal::Recover(NodeId::ALL[1]), &nodes, Path::new("/srv/db"));
        let command =
            "palk admin recover --dir /srv/db --node a:1 --node b:2 --node c:3 --node d:4";
        assert!(said.starts_with("node 2 at b:2 holds") && said.ends_with(command), "{said}");
        let (node, ago) = (NodeId::ALL[2], Duration::from_millis(340));
        for (is_copy, who) in [(false, "another server"), (true, "a server with a copy")] {
            let said = text(Refusal::Running { node, ago, is_copy }, &nodes, Path::new("db"));
            assert!(
                said.starts_with(who) && said.contains("node 3 heard of it 0.3 s ago"),
                "{said}"
            );
            assert!(said.ends_with("palk server --take-over"), "{said}");
        }
    }
}

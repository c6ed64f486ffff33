//! Before a server starts: where its nodes are, and whether another server is at work.

use std::path::Path;
use std::thread;

use crate::core::catalog::Catalog;
use crate::core::cluster::link;
use crate::core::error::{Code, Error, Result};
use crate::core::fence::{self, Decision, LOOK_AGAIN_AFTER, Look, Own, Refusal};
use crate::core::io::tls::Connector;
use crate::core::serve::server::NODES;
use crate::core::types::NodeId;
use crate::core::wire::node::Serves;

/// The nodes to use: those that are remembered, or that are named. Others than the remembered ones are
/// taken if they say themselves which nodes they are.
///
/// # Errors
/// [`Code::NotAllowed`], with what to do, if one that is named is not known to be that node.
pub(super) fn settle_nodes(
    catalog: &Catalog,
    named: Option<&[String; 4]>,
    connector: Option<&Connector>,
) -> Result<[String; 4]> {
    let nodes = match (catalog.node_addresses()?, named) {
        (Some(remembered), None) => return Ok(remembered),
        (Some(remembered), Some(named)) => {
            // As long as no node has been met, nothing speaks for those that are remembered.
            if remembered != *named && catalog.end()?.id > 0 {
                check_named(catalog, &remembered, named, connector)?;
            }
            named.clone()
        }
        (None, named) => named.cloned().unwrap_or_else(|| NODES.map(str::to_owned)),
    };
    catalog.remember_node_addresses(&nodes)?;
    Ok(nodes)
}

/// Are the nodes at these addresses those of the catalog, wherever they are remembered?
fn check_named(
    catalog: &Catalog,
    remembered: &[String; 4],
    named: &[String; 4],
    connector: Option<&Connector>,
) -> Result<()> {
    let placements = catalog.placements()?;
    for (id, asked) in NodeId::ALL.into_iter().zip(link::who_serves_all(named, connector)) {
        let [before, now] = [remembered, named].map(|all| &all[id.index()]);
        let has_pieces = placements.iter().any(|one| one.files > 0 && one.placed.contains(id));
        let (why, advice) = match asked {
            _ if before == now => continue,
            Ok(serves) if serves.cluster == Some(catalog.cluster()) => {
                tracing::info!("node {id} is at {now} now, no more at {before}");
                continue;
            }
            Ok(serves) if serves.cluster.is_none() && !has_pieces => continue,
            Ok(serves) if serves.cluster.is_none() => (
                format!("the one at {now} is empty"),
                format!(
                    "Name the old one, or leave out --node, and have it replaced:  \
                     palk admin replace {id} --to {now}"
                ),
            ),
            Ok(serves) => (
                format!("the one at {now} keeps the files of another cluster in {}", serves.folder),
                "Name the right one, or leave out --node.".to_owned(),
            ),
            Err(error) => (
                format!("at {now} it is not found ({error})"),
                "Start it there, or name the old one, or leave out --node.".to_owned(),
            ),
        };
        let text = format!("node {id} of this cluster was at {before}; {why}");
        return Err(Error::advised(Code::NotAllowed, text, advice));
    }
    Ok(())
}

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
                return Err(refused(why, nodes, folder));
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

fn refused(why: Refusal, nodes: &[String; 4], folder: &Path) -> Error {
    let dir = folder.display();
    let (text, advice) = match why {
        Refusal::Recover(node) => {
            let named: Vec<String> = nodes.iter().map(|node| format!("--node {node}")).collect();
            let text = format!(
                "node {node} at {} holds the files of a cluster, but the user database in {dir} is \
                 empty; nothing was changed",
                nodes[node.index()]
            );
            let advice = format!(
                "If the database was lost, make it anew from the nodes:  palk admin recover --dir {dir} {}",
                named.join(" ")
            );
            (text, advice)
        }
        Refusal::Running { node, ago, is_copy } => {
            let who = match is_copy {
                true => "a server with a copy of this user database",
                false => "another server",
            };
            let ago = ago.as_secs_f64();
            let text = format!("{who} is at work: node {node} heard of it {ago:.1} s ago");
            (text, "Stop it, or end it from here:  palk server --take-over".to_owned())
        }
    };
    Error::advised(Code::NotAllowed, text, advice)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_refusal_says_what_to_do() {
        let nodes = ["a:1", "b:2", "c:3", "d:4"].map(str::to_owned);
        let said = refused(Refusal::Recover(NodeId::ALL[1]), &nodes, Path::new("/srv/db"));
        let said = said.to_string();
        let command =
            "palk admin recover --dir /srv/db --node a:1 --node b:2 --node c:3 --node d:4";
        assert!(said.starts_with("node 2 at b:2 holds") && said.ends_with(command), "{said}");
        let (node, ago) = (NodeId::ALL[2], Duration::from_millis(340));
        for (is_copy, who) in [(false, "another server"), (true, "a server with a copy")] {
            let said = refused(Refusal::Running { node, ago, is_copy }, &nodes, Path::new("db"));
            let said = said.to_string();
            assert!(
                said.starts_with(who) && said.contains("node 3 heard of it 0.3 s ago"),
                "{said}"
            );
            assert!(said.ends_with("palk server --take-over"), "{said}");
        }
    }
}

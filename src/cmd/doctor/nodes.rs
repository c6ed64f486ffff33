//! Storage nodes, asked directly: those that are named, and those of this machine of which the server
//! does not say that they are up. They are asked whom they serve, as by a server before it starts;
//! that changes nothing. A node that has the cluster's key answers that it wants it, which is enough.

use std::thread;

use super::folders::Folders;
use super::ports::is_here;
use super::report::{Level, Report};
use crate::cmd::failure::Stop;
use crate::core::cluster::link::who_serves;
use crate::core::error::{Error, NodeFailure};
use crate::core::health::State as NodeState;
use crate::core::status::Status;
use crate::core::types::NodeId;

/// The port of node 1 less one.
const BASE_PORT: u16 = 51130;

/// Who is at an address.
enum Answer {
    /// This node; where it keeps its files, if it says so.
    Node(Option<String>),
    /// Nobody.
    Nobody,
    /// Somebody who does not answer like this node.
    Other(String),
}

/// Where nodes are if nobody says anything else.
pub(super) fn usual() -> Vec<(NodeId, String)> {
    NodeId::ALL
        .map(|node| (node, format!("127.0.0.1:{}", BASE_PORT + u16::from(node.number()))))
        .into()
}

/// Asks the nodes: those that are `named`, else those that the server tells of, else those at the
/// `usual` addresses. Gives the addresses.
pub(super) fn check(
    named: &[String],
    status: Option<&Status>,
    usual: Vec<(NodeId, String)>,
    folders: &Folders,
    report: &mut Report<'_>,
) -> Result<Vec<String>, Stop> {
    let known = match (named, status) {
        ([], Some(status)) => {
            status.nodes.iter().map(|node| (node.node, node.address.clone())).collect()
        }
        ([], None) => usual,
        (named, _) => NodeId::ALL.into_iter().zip(named.iter().cloned()).collect(),
    };
    let is_up = |node: NodeId| {
        status.is_some_and(|status| {
            let mut nodes = status.nodes.iter();
            nodes.any(|one| one.node == node && one.state == NodeState::Up)
        })
    };
    let is_asked = |(node, address): &&(NodeId, String)| {
        !named.is_empty() || status.is_none() || !is_up(*node) && is_here(address)
    };
    let asked: Vec<(NodeId, String)> = known.iter().filter(is_asked).cloned().collect();
    let answers: Vec<Answer> = thread::scope(|scope| {
        let threads: Vec<_> =
            asked.iter().map(|(node, address)| scope.spawn(move || ask(*node, address))).collect();
        let join = |thread: thread::ScopedJoinHandle<'_, Answer>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().map(join).collect()
    });
    let is_nobody = |answer: &Answer| matches!(answer, Answer::Nobody);
    if named.is_empty()
        && status.is_none()
        && !folders.has_any()
        && !asked.is_empty()
        && answers.iter().all(is_nobody)
    {
        let text = "no storage node runs here: there is no folder files_N, and nothing answers at \
                    127.0.0.1:51131 to 127.0.0.1:51134";
        let fix = "Start them:  palk storage --id 1   and so on to 4, or name where they are:  --node \
                   HOST:PORT";
        report.found("nodes", Level::Risk, text, fix)?;
        return Ok(known.into_iter().map(|(_, address)| address).collect());
    }
    for ((node, address), answer) in asked.iter().zip(answers) {
        let check = format!("node-{node}");
        match answer {
            Answer::Node(folder) => {
                let folder = folder.map_or(String::new(), |folder| format!(", with {folder}"));
                report.ok(&check, format!("answers at {address}{folder}"))?;
            }
            // The server has said so already.
            Answer::Nobody if status.is_some() && named.is_empty() => {}
            Answer::Nobody => {
                let fix = format!("Start it:  palk storage --id {node}");
                if named.is_empty() {
                    // It may be elsewhere.
                    let text = format!("nothing answers at {address}, its default address");
                    report.found(&check, Level::Risk, text, fix)?;
                } else {
                    let text = format!("nothing answers at {address}");
                    report.found(&check, Level::Degraded, text, fix)?;
                }
            }
            Answer::Other(why) => {
                let text =
                    format!("another program answers at {address}, not storage node {node}: {why}");
                let fix = format!(
                    "Free the port, or give the node another:  palk storage --id {node} --listen \
                     HOST:PORT   and name all four to the server with --node"
                );
                report.found(&check, Level::Fail, text, fix)?;
            }
        }
    }
    Ok(known.into_iter().map(|(_, address)| address).collect())
}

fn ask(node: NodeId, address: &str) -> Answer {
    match who_serves(node, address, None) {
        Ok(serves) => Answer::Node(Some(serves.folder)),
        Err(Error::Node { why, .. }) => match why {
            NodeFailure::Refused(why) if why.contains("that has the cluster's key") => {
                Answer::Node(None)
            }
            NodeFailure::Unreachable(why) if why.contains("closed the connection") => {
                Answer::Other(why)
            }
            NodeFailure::Unreachable(_) => Answer::Nobody,
            why => Answer::Other(why.to_string()),
        },
        Err(error) => Answer::Other(error.to_string()),
    }
}

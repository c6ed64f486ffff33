//! The demo's prompt: the client's session, and verbs that take nodes away and give them back.

use super::blocks;
use super::cluster::{Cluster, State};
use crate::cmd::client::session::Extra;
use crate::cmd::env::{Env, plural};
use crate::cmd::failure::{Failure, Stop};
use crate::cmd::status::grouped;
use crate::core::error::{Code, Error};
use crate::core::path::printable;
use crate::core::remote::Remote;
use crate::core::types::{NodeId, NodeSet, READ_QUORUM, WRITE_QUORUM};
use crate::core::wire::extended::Entry;

pub(super) const MENU: &str = "  \
  kill N   - Kill node N
  start N  - Start node N again
  status   - See which nodes are up and what they hold
  quit     - End everything";

/// The demo's verbs.
pub(super) struct Prompt<'a> {
    pub(super) cluster: &'a mut Cluster,
}

impl Extra for Prompt<'_> {
    fn words(&self) -> &'static [&'static str] {
        &["kill", "start", "status"]
    }

    fn menu(&self) -> &'static str {
        MENU
    }

    fn operate(
        &mut self,
        words: &[String],
        remote: &mut Remote,
        env: &mut Env,
    ) -> Option<Result<(), Stop>> {
        let (verb, arguments) = words.split_first()?;
        Some(match verb.to_ascii_lowercase().as_str() {
            "kill" => nodes_of("kill", arguments)
                .and_then(|nodes| nodes.into_iter().try_for_each(|id| self.kill(id, env))),
            "start" => nodes_of("start", arguments)
                .and_then(|nodes| nodes.into_iter().try_for_each(|id| self.start(id, env))),
            "status" => self.status(remote, env),
            _ => return None,
        })
    }
}

/// The nodes that a line names.
fn nodes_of(verb: &str, arguments: &[String]) -> Result<Vec<NodeId>, Stop> {
    let parse = |text: &String| text.parse().ok().and_then(NodeId::new);
    let nodes: Option<Vec<NodeId>> = arguments.iter().map(parse).collect();
    nodes.filter(|nodes| !nodes.is_empty()).ok_or_else(|| {
        let text = format!("which node is meant? They are 1 to 4:  {verb} 2");
        Failure::new(Code::Usage, text).into()
    })
}

impl Prompt<'_> {
    fn kill(&mut self, id: NodeId, env: &mut Env) -> Result<(), Stop> {
        if !matches!(self.cluster.state(id), State::Running { .. }) {
            return env.data(&format!("Node {id} is down already"));
        }
        self.cluster.kill(id);
        env.data(&format!("Killed node {id}"))
    }

    fn start(&mut self, id: NodeId, env: &mut Env) -> Result<(), Stop> {
        if let State::Running { .. } = self.cluster.state(id) {
            return env.data(&format!("Node {id} is up already"));
        }
        self.cluster.start_again(id)?;
        env.data(&format!("Node {id} is up again; what it missed is brought to it"))
    }

    fn status(&mut self, remote: &mut Remote, env: &mut Env) -> Result<(), Stop> {
        let mut placed = Vec::new();
        let listed = remote.list(&mut |entry| {
            if let Entry::File(file) = entry {
                placed.push(file.placed);
            }
            Ok(())
        });
        listed.map_err(|error: Error| Failure::of("cannot list the files", &error))?;
        let mut up = NodeSet::EMPTY;
        env.data(
            "  node  state                     address                blocks          bytes  lacks",
        )?;
        for id in NodeId::ALL {
            let state = match self.cluster.state(id) {
                State::Running { pid } => {
                    up.insert(id);
                    format!("up, process {pid}")
                }
                State::Killed => "killed".to_owned(),
                State::Ended(how) => format!("ended ({})", printable(&how)),
            };
            let (files, bytes) = blocks::count(&self.cluster.node_folder(id));
            let bytes = grouped(bytes);
            let (number, address) = (id.number(), self.cluster.address(id));
            let lacks = match placed.iter().filter(|placed| !placed.contains(id)).count() {
                0 => "nothing".to_owned(),
                lacking => plural(lacking, "file"),
            };
            env.data(&format!(
                "  {number:>4}  {state:24}  {address:21}  {files:>6}  {bytes:>13}  {lacks}"
            ))?;
        }
        env.data(&format!("  {}", sentence(up, &placed)))
    }
}

/// What can be done with these nodes up, and files on those.
fn sentence(up: NodeSet, placed: &[NodeSet]) -> String {
    let files = placed.len();
    let readable = placed.iter().filter(|placed| placed.and(up).len() >= READ_QUORUM).count();
    let reading = match (readable, files) {
        (_, 0) => "there are no files yet".to_owned(),
        (readable, files) if readable == files => "every file can be read".to_owned(),
        (readable, files) => format!("{} of {files} files cannot be read now", files - readable),
    };
    let storing = match WRITE_QUORUM.saturating_sub(up.len()) {
        0 => "files can be stored".to_owned(),
        1 => "storing needs one more node".to_owned(),
        more => format!("storing needs {more} more nodes"),
    };
    let are = if up.len() == 1 { "is" } else { "are" };
    format!("{} of 4 nodes {are} up: {reading}; {storing}", up.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(numbers: &[u8]) -> NodeSet {
        numbers.iter().filter_map(|number| NodeId::new(*number)).collect()
    }

    #[test]
    fn the_sentence_says_what_can_be_done() {
        let files = [NodeSet::ALL, set(&[1, 3, 4])];
        for (up, text) in [
            (&[1, 2, 3, 4][..], "4 of 4 nodes are up: every file can be read; files can be stored"),
            (&[1, 3], "2 of 4 nodes are up: every file can be read; storing needs one more node"),
            (
                &[1, 2],
                "2 of 4 nodes are up: 1 of 2 files cannot be read now; storing needs one more node",
            ),
            (
                &[],
                "0 of 4 nodes are up: 2 of 2 files cannot be read now; storing needs 3 more nodes",
            ),
        ] {
            assert_eq!(sentence(set(up), &files), text);
        }
    }

    #[test]
    fn a_node_is_a_number_from_1_to_4() {
        let nodes = |words: &[&str]| {
            nodes_of("kill", &words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
        };
        assert_eq!(nodes(&["2", "4"]).unwrap().len(), 2);
        for words in [&[][..], &["5"], &["0"], &["two"], &["1", "x"]] {
            assert!(nodes(words).is_err());
        }
    }
}

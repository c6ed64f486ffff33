//! A node of the simulated world is replaced by an empty one.

use std::sync::Arc;
use std::time::Duration;

use palk::core::cluster::replace::Begun;
use palk::core::path::UserName;
use palk::core::types::NodeId;

use super::node::{Process, SimNode};
use super::users::file;
use super::world::World;

/// Where the node is that replaces another.
pub(crate) const SPARE: &str = "spare:1";

impl World {
    /// An empty node with the number of node 1 is started at another address.
    pub(crate) fn start_spare(&mut self) -> Arc<SimNode> {
        let seed = self.site.seed ^ 0xff;
        let spare = SimNode::new(NodeId::ALL[0], seed, self.links.clone(), true);
        self.site.yard.lock().unwrap().insert(SPARE.to_owned(), spare.clone());
        spare
    }

    /// Node 1 is replaced by the spare one; false if that cannot begin now.
    pub(crate) fn replace(&mut self) -> bool {
        self.replace_by(SPARE)
    }

    /// Node 1 is replaced by the one at this address; false if that cannot begin now.
    pub(crate) fn replace_by(&mut self, address: &str) -> bool {
        let replacements = self.server().workers.replacer.replacements();
        let begun = replacements.replace(NodeId::ALL[0], address, false, 0);
        tracing::info!("replacing: {begun:?}");
        matches!(begun, Ok(Begun::Started | Begun::Resumed))
    }

    /// The files that keep node 1 from being replaced.
    pub(crate) fn files_at_risk(&mut self) -> Vec<String> {
        let replacements = self.server().workers.replacer.replacements();
        match replacements.replace(NodeId::ALL[0], SPARE, false, 0) {
            Ok(Begun::WouldLose { count, first }) => {
                assert_eq!(count, first.len() as u64);
                first.iter().map(ToString::to_string).collect()
            }
            other => panic!("{other:?}"),
        }
    }

    /// The catalog is told that these nodes have lost their pieces of a file.
    pub(crate) fn lose(&mut self, user: &str, path: &str, nodes: &[usize]) {
        let cluster = self.server().cluster.clone();
        let account = cluster.catalog.account(&UserName::parse(user).unwrap()).unwrap();
        let version = cluster.catalog.file(account.id, &file(path)).unwrap().version;
        for node in nodes {
            let id = NodeId::ALL[*node];
            let lost = move |draft: &mut palk::core::catalog::Draft<'_>| {
                draft.pieces_lost(id, &[version], true)
            };
            cluster.committer.submit(lost).unwrap();
        }
    }

    /// Is it proved that the new node is whole?
    pub(crate) fn is_replaced(&mut self) -> bool {
        let progress = self.server().workers.replacer.replacements().progress().unwrap();
        progress.iter().any(|own| own.replacement.proved_ms.is_some())
    }

    /// Goes on with the replacement, or begins it, until the new node is proved to be whole.
    pub(crate) fn finish_replacing(&mut self) {
        for _ in 0..20 {
            self.start_server_somehow();
            let yard: Vec<_> = self.site.yard.lock().unwrap().values().cloned().collect();
            for node in yard {
                node.notice_crash();
                node.disk().behave();
                let process = node.machine().process;
                if process == Process::Down {
                    node.start();
                }
                node.work(100);
            }
            self.pass(Duration::from_secs(100));
            let went_on = self.guarded(|world| {
                world.attend();
                if !world.is_replaced() {
                    world.replace();
                    world.attend();
                }
            });
            if went_on && self.is_replaced() {
                return;
            }
        }
        let progress = self.server().workers.replacer.replacements().progress();
        panic!("a node is never replaced: {progress:?}");
    }

    /// The nodes that the server means, which may have been replaced.
    pub(crate) fn follow_addresses(&mut self) {
        let addresses = self.server().cluster.catalog.node_addresses().unwrap();
        if let Some(addresses) = addresses {
            let yard = self.site.yard.lock().unwrap();
            self.nodes = addresses.iter().map(|address| yard[address].clone()).collect();
        }
    }
}

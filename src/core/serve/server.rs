//! The server put together: catalog, nodes, doors.
//!
//! Listening begins as soon as the catalog is open; the nodes are connected in the background, each
//! as it comes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use crate::core::catalog::Catalog;
use crate::core::cluster::Fanout;
use crate::core::cluster::attendant;
use crate::core::cluster::link::TcpNode;
use crate::core::cluster::node::Node;
use crate::core::cluster::roster::Roster;
use crate::core::cluster::volume::Volume;
use crate::core::error::{Code, Error, Result};
use crate::core::io::disk::{FolderLock, RealDisk, create_folders};
use crate::core::io::listener::{Listener, Most, State, TooMany, files_max};
use crate::core::io::random::Random;
use crate::core::serve::client::Door;
use crate::core::serve::files::{Files, Policy};
use crate::core::serve::limits::{CLIENTS_MAX, NETWORK_CLIENTS_MAX};
use crate::core::serve::users::Users;
use crate::core::session::Dialect;
use crate::core::types::NodeId;

/// Files that are not for clients: the catalog, connections to nodes, other doors.
const OTHER_FILES: usize = 64;

/// Where nodes 1 to 4 are if nobody says otherwise.
pub const NODES: [&str; 4] =
    ["127.0.0.1:51131", "127.0.0.1:51132", "127.0.0.1:51133", "127.0.0.1:51134"];

/// What a server is started with.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where it listens, `HOST:PORT`.
    pub listen: String,
    /// The nodes, if they were named; else those that the catalog remembers, else [`NODES`].
    pub nodes: Option<[String; 4]>,
    /// Its own folder.
    pub folder: PathBuf,
    /// What plain hellos get.
    pub dialect: Dialect,
    /// The largest file that is taken, in bytes.
    pub file_bytes_max: u64,
    /// What holds for all accounts.
    pub policy: Policy,
}

/// A server that is ready to serve.
pub struct Server {
    listener: Listener,
    files: Arc<Files>,
    dialect: Dialect,
    nodes: [String; 4],
    _lock: FolderLock,
}

impl Server {
    /// Opens the catalog, begins to listen and to look for the nodes.
    ///
    /// # Errors
    /// If the folder is in use or cannot be opened, the nodes are not the remembered ones, or the
    /// address is taken.
    pub fn open(config: &Config) -> Result<Server> {
        let lock = lock_folder(&config.folder)?;
        let random = Arc::new(Random::from_system());
        let catalog = Catalog::open(&config.folder.join("palk.db"), random.cluster())?;
        let nodes = settle_nodes(&catalog, config.nodes.as_ref())?;
        let listener = Listener::bind(&config.listen)?;

        let catalog = Arc::new(catalog);
        let links = NodeId::ALL.map(|id| -> Arc<dyn Node> {
            Arc::new(TcpNode::new(id, catalog.cluster(), nodes[id.index()].clone()))
        });
        let roster = Arc::new(Roster::new(links));
        let volume = Arc::new(Volume::new(roster, random.clone(), Fanout::Threads));
        let readers = Arc::default();
        let bell = attendant::start(&catalog, &volume, &readers)?;
        let files = Files::new(catalog, volume, readers, bell, random, config.file_bytes_max);
        let files = files.with_policy(config.policy);
        Ok(Server { listener, files: Arc::new(files), dialect: config.dialect, nodes, _lock: lock })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Where it looks for the nodes.
    pub fn nodes(&self) -> &[String; 4] {
        &self.nodes
    }

    /// The accounts, for whoever runs the server.
    pub fn users(&self) -> Users {
        Users::new(self.files.clone())
    }

    /// For an orderly end from another thread.
    pub fn state(&self) -> Arc<State> {
        self.listener.state()
    }

    /// Serves clients until the process ends.
    pub fn run(&self) {
        let door = Arc::new(Door {
            files: self.files.clone(),
            state: self.listener.state(),
            dialect: self.dialect,
        });
        let users = self.users();
        thread::spawn(move || {
            if let Err(error) = users.finish_removals() {
                tracing::warn!("cannot finish removing an account: {error}");
            }
        });
        let inner = door.clone();
        let serve = move |socket, peer| inner.serve(socket, peer);
        let most = Most { all: clients_max(), per_network: Some(NETWORK_CLIENTS_MAX) };
        self.listener.run("client", most, serve, |socket, peer, too_many| {
            let reason = match too_many {
                TooMany::All => format!("there are {} clients already", most.all),
                TooMany::FromNetwork => {
                    format!("there are {NETWORK_CLIENTS_MAX} clients from your address already")
                }
            };
            door.turn_away(socket, peer, &reason);
        });
    }
}

/// Of the files that this process may have, clients who only wait take half at most: were there none
/// left to connect to the nodes with, they would keep everyone from being served.
fn clients_max() -> usize {
    files_max()
        .map_or(CLIENTS_MAX, |files| (files.saturating_sub(OTHER_FILES) / 2).clamp(1, CLIENTS_MAX))
}

fn lock_folder(folder: &Path) -> Result<FolderLock> {
    let named = folder.display();
    create_folders(&RealDisk, folder)
        .map_err(Error::io(format!("cannot make the folder {named}")))?;
    FolderLock::take(&folder.join("lock"))
        .map_err(Error::io(format!("cannot lock the folder {named}")))?
        .ok_or_else(|| {
            Error::other(
                Code::Busy,
                format!(
                    "another server uses the folder {named}; stop it, or name another with --dir"
                ),
            )
        })
}

/// The nodes to use: those that are remembered, and at the first start those that are named.
fn settle_nodes(catalog: &Catalog, named: Option<&[String; 4]>) -> Result<[String; 4]> {
    match (catalog.node_addresses()?, named) {
        (Some(remembered), None) => Ok(remembered),
        (Some(remembered), Some(named)) => {
            let differs = NodeId::ALL.iter().find(|id| named[id.index()] != remembered[id.index()]);
            match differs {
                None => Ok(remembered),
                Some(id) => Err(Error::other(
                    Code::NotAllowed,
                    format!(
                        "node {id} of this cluster is at {}, not at {}; leave out --node to use the \
                         four that are remembered",
                        remembered[id.index()],
                        named[id.index()]
                    ),
                )),
            }
        }
        (None, named) => {
            let nodes = named.cloned().unwrap_or_else(|| NODES.map(str::to_owned));
            catalog.remember_node_addresses(&nodes)?;
            Ok(nodes)
        }
    }
}

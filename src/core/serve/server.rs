//! The server put together: catalog, nodes, doors.
//!
//! Listening begins once the catalog is open and the nodes that are there have said that no other
//! server is at work; the nodes are connected in the background, each as it comes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::core::catalog::Catalog;
use crate::core::cluster::Fanout;
use crate::core::cluster::attendant;
use crate::core::cluster::backup::Backups;
use crate::core::cluster::link::TcpNode;
use crate::core::cluster::node::Node;
use crate::core::cluster::roster::Roster;
use crate::core::cluster::volume::Volume;
use crate::core::error::{Code, Error, Result};
use crate::core::io::disk::{FolderLock, RealDisk, create_folders};
use crate::core::io::listener::{Listener, State, files_max};
use crate::core::io::random::Random;
use crate::core::serve::admin;
use crate::core::serve::client::Door;
use crate::core::serve::files::Files;
use crate::core::serve::operator::{Operator, Parts};
use crate::core::serve::start;
use crate::core::serve::upkeep::{self, Rates, Upkeep};
use crate::core::session::Dialect;
use crate::core::types::{Claim, NodeId};

/// The most clients at once, if the system lets this process have enough files.
const CLIENTS_MAX: usize = 1000;

/// Files that are not for clients: the catalog, connections to nodes, other doors.
const OTHER_FILES: usize = 64;

const _: () = assert!(admin::CONNECTIONS_MAX < OTHER_FILES / 2);

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
    /// How fast repairs and scrubs go.
    pub rates: Rates,
    /// Start although another server is heard of, and end that one.
    pub take_over: bool,
}

/// A server that is ready to serve.
pub struct Server {
    listener: Listener,
    files: Arc<Files>,
    operator: Arc<Operator>,
    upkeep: Arc<Upkeep>,
    dialect: Dialect,
    nodes: [String; 4],
    backups: Arc<Backups>,
    _lock: FolderLock,
}

impl Server {
    /// Opens the catalog, asks the nodes whether another server is at work, begins to listen and to
    /// look for the nodes.
    ///
    /// # Errors
    /// If the folder is in use or cannot be opened, the nodes are not the remembered ones, another
    /// server is at work, or the address is taken.
    pub fn open(config: &Config) -> Result<Server> {
        let lock = lock_folder(&config.folder)?;
        let random = Arc::new(Random::from_system());
        let catalog = Catalog::open(&config.folder.join("palk.db"), random.cluster())?;
        let nodes = settle_nodes(&catalog, config.nodes.as_ref())?;
        let epoch = start::settle_epoch(&catalog, &nodes, &config.folder, config.take_over)?;
        let listener = Listener::bind(&config.listen)?;
        // What a node has seen must never be used again, so it is on disk before any node sees it.
        let claim = Claim { epoch, server: random.server() };
        catalog.remember_claim(claim)?;

        let catalog = Arc::new(catalog);
        let links = NodeId::ALL.map(|id| -> Arc<dyn Node> {
            Arc::new(TcpNode::new(id, catalog.cluster(), claim, nodes[id.index()].clone()))
        });
        let roster = Arc::new(Roster::new(links));
        let copy = config.folder.join("snapshot");
        let backups = Backups::new(catalog.clone(), roster.clone(), random.clone(), copy);
        let volume = Arc::new(Volume::new(roster, random.clone(), Fanout::Threads));
        let readers = Arc::default();
        let mut bell = attendant::start(&catalog, &volume, &readers)?;
        let upkeep = upkeep::start(&catalog, &volume, &readers, &mut bell, config.rates)?;
        let backups = Arc::new(backups);
        backups.start()?;
        let upkeep = Arc::new(upkeep);
        let operator = Arc::new(Operator::new(Parts {
            catalog: catalog.clone(),
            volume: volume.clone(),
            bell: bell.clone(),
            upkeep: upkeep.clone(),
            backups: backups.clone(),
        }));
        admin::open(&config.folder, &operator, &listener.state());
        let files = Files::new(catalog, volume, readers, bell, random, config.file_bytes_max);
        let (files, dialect) = (Arc::new(files), config.dialect);
        Ok(Server { listener, files, operator, upkeep, backups, dialect, nodes, _lock: lock })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Where it looks for the nodes.
    pub fn nodes(&self) -> &[String; 4] {
        &self.nodes
    }

    /// Healing, scrubbing and replacing.
    pub fn upkeep(&self) -> &Upkeep {
        &self.upkeep
    }

    /// The catalog's backup on the nodes: how far it is, and making one now.
    pub fn backups(&self) -> &Arc<Backups> {
        &self.backups
    }

    /// For an orderly end from another thread.
    pub fn state(&self) -> Arc<State> {
        self.listener.state()
    }

    /// Waits until another server has taken over; gives its epoch. This one refuses everything by
    /// then.
    pub fn wait_until_taken_over(&self) -> u64 {
        self.files.standing().wait_until_taken_over()
    }

    /// Says good-bye to the nodes, so that the next server need not wait. For the very end.
    pub fn say_bye(&self) {
        self.files.say_bye();
    }

    /// Serves clients until the process ends.
    pub fn run(&self) {
        let door = Arc::new(Door {
            files: self.files.clone(),
            operator: self.operator.clone(),
            state: self.listener.state(),
            dialect: self.dialect,
        });
        let inner = door.clone();
        let serve = move |socket, peer| inner.serve(socket, peer);
        let most = clients_max();
        self.listener.run("client", most, serve, |socket, peer| {
            door.turn_away(socket, peer, &format!("there are {most} clients already"));
        });
    }
}

/// Of the files that this process may have, clients who only wait take half at most: were there none
/// left to connect to the nodes with, they would keep everyone from being served.
fn clients_max() -> usize {
    files_max()
        .map_or(CLIENTS_MAX, |files| (files.saturating_sub(OTHER_FILES) / 2).clamp(1, CLIENTS_MAX))
}

pub(super) fn lock_folder(folder: &Path) -> Result<FolderLock> {
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
                         four that are remembered, or start the server so and have it replaced: \
                         palk admin replace {id} --to {}",
                        remembered[id.index()],
                        named[id.index()],
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

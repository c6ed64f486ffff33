//! The server put together: catalog, nodes, doors.
//!
//! Listening begins once the catalog is open and the nodes that are there have said that no other
//! server is at work; the nodes are connected in the background, each as it comes.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

use crate::core::catalog::{Catalog, DiskReserve};
use crate::core::cluster::link::TcpNode;
use crate::core::cluster::node::Node;
use crate::core::cluster::{Cluster, Fanout};
use crate::core::error::{Code, Error, Result};
use crate::core::io::disk::{FolderLock, RealDisk, create_folders};
use crate::core::io::listener::{Listener, Most, State, TooMany, files_max};
use crate::core::io::monitor::Monitored;
use crate::core::io::private;
use crate::core::io::random::Random;
use crate::core::io::spool::Spools;
use crate::core::io::tls::{ClusterKey, Connector, Identity, check_without_key};
use crate::core::serve::admin;
use crate::core::serve::client;
use crate::core::serve::door::{Backend, Door, Spec};
use crate::core::serve::encryption::Encryption;
use crate::core::serve::files::{Files, Policy};
use crate::core::serve::limits::{CLIENTS_MAX, NETWORK_CLIENTS_MAX};
use crate::core::serve::meter::{Entrance, Meters};
use crate::core::serve::monitor::MonitoredServer;
use crate::core::serve::operator::Operator;
use crate::core::serve::start;
use crate::core::serve::upkeep::{self, Rates, Upkeep};
use crate::core::serve::users::Users;
use crate::core::serve::web;
use crate::core::session::Dialect;
use crate::core::types::{Claim, Fingerprint, NodeId};

/// Files that are not for clients: the catalog, connections to nodes, other doors.
const OTHER_FILES: usize = 64;

const _: () = assert!(admin::CONNECTIONS_MAX < OTHER_FILES / 2);

/// The server's own certificate and key are there, in its folder.
const TLS_FOLDER: &str = "tls";

/// Where nodes 1 to 4 are if nobody says otherwise.
pub const NODES: [&str; 4] =
    ["127.0.0.1:51131", "127.0.0.1:51132", "127.0.0.1:51133", "127.0.0.1:51134"];

/// What a server is started with.
#[derive(Clone)]
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
    /// The cluster's key; without it the nodes and the server have to be on this machine.
    pub key: Option<ClusterKey>,
    /// The files of a certificate and its key, if the server is not to make its own.
    pub certificate: Option<[PathBuf; 2]>,
    /// Whether clients on other machines may speak plain text.
    pub allow_plaintext: bool,
    /// What holds for all accounts.
    pub policy: Policy,
    /// The other doors.
    pub doors: Vec<Spec>,
    /// Where the web door listens, if there is to be one.
    pub web: Option<String>,
    /// Bytes that are kept free on the disk of its folder; the usual number if none is given.
    pub reserve: Option<u64>,
}

/// A server that is ready to serve.
pub struct Server {
    listener: Listener,
    files: Arc<Files>,
    operator: Arc<Operator>,
    upkeep: Arc<Upkeep>,
    dialect: Dialect,
    nodes: [String; 4],
    certificate: [PathBuf; 2],
    encryption: Arc<Encryption>,
    doors: Vec<Arc<Door>>,
    web: Option<Arc<web::Door>>,
    meters: Arc<Meters>,
    folder: PathBuf,
    _lock: FolderLock,
}

impl Server {
    /// Opens the catalog, asks the nodes whether another server is at work, begins to listen and to
    /// look for the nodes.
    ///
    /// # Errors
    /// If the folder is in use or cannot be opened, the nodes are not the remembered ones, another
    /// server is at work, the address is taken, a key or certificate cannot be used, or
    /// [`Error::NeedsKey`].
    pub fn open(config: &Config) -> Result<Server> {
        if config.key.is_none() {
            let named = config.nodes.iter().flatten();
            named
                .chain([&config.listen])
                .chain(&config.web)
                .try_for_each(|address| check_without_key(address))?;
        }
        let lock = lock_folder(&config.folder)?;
        let random = Arc::new(Random::from_system());
        let reserve = DiskReserve::open(&config.folder, config.reserve)?;
        let catalog = Catalog::open(&config.folder.join("palk.db"), random.cluster())?;
        let catalog = catalog.with_reserve(reserve);
        let connector = config.key.as_ref().map(Connector::for_cluster).transpose()?;
        let named = config.nodes.as_ref();
        let nodes = start::settle_nodes(&catalog, named, connector.as_ref())?;
        if config.key.is_none() {
            nodes.iter().try_for_each(|address| check_without_key(address))?;
        }
        let identity = identity(config)?;
        let epoch = start::settle_epoch(
            &catalog,
            &nodes,
            connector.as_ref(),
            &config.folder,
            config.take_over,
        )?;
        let listener = Listener::bind(&config.listen)?;
        let doors = config.doors.iter().map(|spec| Ok(Arc::new(Door::open(spec)?)));
        let doors = doors.collect::<Result<Vec<_>>>()?;
        let web = config.web.as_deref().map(web::Door::open).transpose()?.map(Arc::new);
        // What a node has seen must never be used again, so it is on disk before any node sees it.
        let before = catalog.last_claim()?.map(|last| last.server);
        let claim = Claim { epoch, server: random.server(before) };
        catalog.remember_claim(claim)?;

        let catalog = Arc::new(catalog);
        let links = NodeId::ALL.map(|id| -> Arc<dyn Node> {
            let node = TcpNode::new(id, catalog.cluster(), claim, nodes[id.index()].clone());
            Arc::new(node.encrypted(connector.clone()))
        });
        let snapshot = config.folder.join("snapshot");
        let cluster =
            Cluster::new(catalog, links, claim, &random, Fanout::Threads, None, snapshot)?;
        let upkeep = Arc::new(upkeep::start(&cluster, config.rates.clone())?);
        cluster.start_replication()?;
        let files = Files::new(cluster.clone(), random, config.file_bytes_max);
        let files = Arc::new(files.with_policy(config.policy));
        let users = Users::new(files.clone());
        let operator = Arc::new(Operator::new(cluster, users, upkeep.clone()));
        admin::open(&config.folder, &operator, &listener.state());
        Ok(Server {
            listener,
            files,
            operator,
            upkeep,
            dialect: config.dialect,
            nodes,
            certificate: certificate_files(config),
            encryption: Arc::new(Encryption::new(&identity, config.allow_plaintext)?),
            doors,
            web,
            meters: Arc::default(),
            folder: config.folder.clone(),
            _lock: lock,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// Where it looks for the nodes.
    pub fn nodes(&self) -> &[String; 4] {
        &self.nodes
    }

    /// What clients recognise it by.
    pub fn fingerprint(&self) -> Fingerprint {
        self.encryption.fingerprint()
    }

    /// Reads the certificate and its key again, and shows them to clients that connect from now on.
    ///
    /// # Errors
    /// As [`Identity::of_files`]; clients are shown the former certificate then.
    pub fn reload_certificate(&self) -> Result<()> {
        let [certificate, key] = &self.certificate;
        // Never of the folder: that would make a new key where the file is missing.
        self.encryption.show(&Identity::of_files(certificate, key)?)
    }

    /// Does it lead the cluster?
    pub fn leads(&self) -> bool {
        self.files.leadership().is_established()
    }

    /// How many nodes are up.
    pub fn nodes_up(&self) -> usize {
        self.files.nodes_up()
    }

    /// Repairing, scrubbing and replacing.
    pub fn upkeep(&self) -> &Upkeep {
        &self.upkeep
    }

    /// The other doors, for those who announce them.
    pub fn doors(&self) -> impl Iterator<Item = &Door> {
        self.doors.iter().map(AsRef::as_ref)
    }

    /// Where the web door listens, if there is one.
    pub fn web_address(&self) -> Option<SocketAddr> {
        self.web.as_ref().map(|web| web.address())
    }

    /// What monitors read.
    pub fn monitored(&self) -> Arc<impl Monitored + use<>> {
        let doors = self.doors.iter().map(|door| (door.kind().into(), door.connections()));
        let web = self.web.iter().map(|web| (Entrance::Web, web.connections()));
        let doors = doors.chain(web);
        Arc::new(MonitoredServer::new(
            self.operator.clone(),
            self.meters.clone(),
            self.listener.state(),
            doors.collect(),
        ))
    }

    /// The accounts, for the operator of the server.
    pub fn users(&self) -> Users {
        Users::new(self.files.clone())
    }

    /// For an orderly end from another thread.
    pub fn state(&self) -> Arc<State> {
        self.listener.state()
    }

    /// Waits until another server has taken over; gives its epoch. This one refuses everything by
    /// then.
    pub fn wait_until_taken_over(&self) -> u64 {
        self.files.leadership().wait_until_taken_over()
    }

    /// Says good-bye to the nodes, so that the next server need not wait. For the very end.
    pub fn say_bye(&self) {
        self.files.say_bye();
    }

    /// Serves clients until the process ends.
    pub fn run(&self) {
        let door = Arc::new(client::Door {
            files: self.files.clone(),
            operator: self.operator.clone(),
            state: self.listener.state(),
            dialect: self.dialect,
            encryption: self.encryption.clone(),
            meters: self.meters.clone(),
        });
        let spools = Spools::new(&self.folder);
        for other in &self.doors {
            let (other, spools) = (other.clone(), spools.clone());
            let (files, state) = (self.files.clone(), self.listener.state());
            let backend = Backend { files, state, spools, meters: self.meters.clone() };
            thread::spawn(move || other.run(backend));
        }
        if let Some(web) = &self.web {
            let (web, monitored) = (web.clone(), self.monitored());
            let backend = web::Backend {
                files: self.files.clone(),
                state: self.listener.state(),
                encryption: self.encryption.clone(),
                meters: self.meters.clone(),
                operator: self.operator.clone(),
                health: Box::new(move || monitored.health()),
            };
            thread::spawn(move || web.run(backend));
        }
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

pub(super) fn lock_folder(folder: &Path) -> Result<FolderLock> {
    let named = folder.display();
    create_folders(&RealDisk, folder)
        .map_err(Error::io(format!("cannot make the folder {named}")))?;
    let lock = FolderLock::take(&folder.join("lock"))
        .map_err(Error::io(format!("cannot lock the folder {named}")))?
        .ok_or_else(|| {
            let text = format!("another server uses the folder {named}");
            Error::advised(Code::Busy, text, "Stop it, or name another folder with --dir.")
        })?;
    for path in private::mend_all(folder)? {
        tracing::warn!("{} was open to others and is private again", path.display());
    }
    Ok(lock)
}

/// Where the certificate that clients are shown is, and its key.
fn certificate_files(config: &Config) -> [PathBuf; 2] {
    let own = || Identity::files_in(&config.folder.join(TLS_FOLDER));
    config.certificate.clone().unwrap_or_else(own)
}

/// What the server shows to its clients.
fn identity(config: &Config) -> Result<Identity> {
    if let Some([certificate, key]) = &config.certificate {
        return Identity::of_files(certificate, key);
    }
    let mut mended = Vec::new();
    let identity = Identity::of_folder(&config.folder.join(TLS_FOLDER), &mut mended)?;
    for path in mended {
        tracing::warn!("{} was open to others and is private again", path.display());
    }
    Ok(identity)
}

//! Other doors onto the same files: protocols that know neither sign-in nor encryption, each in a
//! file of its own. A door is off until it is named, listens on this machine alone unless told
//! otherwise, acts as one account, and reaches files through the facade as everything else does.
//!
//! What holds for clients holds here too: a thread for each, limits on how many there are and on how
//! long they may be silent, and an orderly end. A door that is to be found by others announces itself
//! with what [`Door::kind`] and [`Door::address`] say, see `Server::doors`.

mod client;
mod folder;
mod request;
mod share;
pub mod spec;

use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

use self::client::DoorClient;
pub use self::spec::{Kind, Spec};
use crate::core::error::Result;
use crate::core::io::listener::{Listener, Most, State, TooMany, files_max};
use crate::core::io::net::Stream;
use crate::core::io::spool::Spools;
use crate::core::serve::files::Files;
use crate::core::serve::meter::Meters;

/// The most clients of one door at once, if the system lets this process have enough files.
const DOOR_CLIENTS_MAX: usize = 200;

/// The most of them from one address (see `io::listener::network_of`).
const DOOR_NETWORK_CLIENTS_MAX: usize = 50;

const _: () = assert!(DOOR_NETWORK_CLIENTS_MAX * 4 <= DOOR_CLIENTS_MAX);

/// Clients of all doors together take at most this share of the files of the process, so that enough
/// are left for the clients of the server itself and for its nodes.
const FILES_SHARE: usize = 16;

/// A door that is open, and not served yet.
pub struct Door {
    spec: Spec,
    listener: Listener,
}

/// What all doors lead to.
#[derive(Clone)]
pub struct Backend {
    /// The files behind them.
    pub files: Arc<Files>,
    /// The server's state, for an orderly end.
    pub state: Arc<State>,
    /// Where files are put aside whose size is not known yet.
    pub spools: Arc<Spools>,
    /// What is counted.
    pub meters: Arc<Meters>,
}

impl Door {
    /// Begins to listen.
    ///
    /// # Errors
    /// [`Code::NotAllowed`](crate::core::error::Code::NotAllowed) if others than this machine could
    /// reach it and that was not asked for, [`Code::Usage`](crate::core::error::Code::Usage) if the
    /// address is none or is taken.
    pub fn open(spec: &Spec) -> Result<Door> {
        spec.check()?;
        let option = format!("--door {}=HOST:PORT,...", spec.kind);
        Ok(Door { listener: Listener::bind_for(&spec.address, &option)?, spec: spec.clone() })
    }

    /// What it speaks.
    pub fn kind(&self) -> Kind {
        self.spec.kind
    }

    /// Where it listens, with the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.listener.address()
    }

    /// What its connections share.
    pub(super) fn connections(&self) -> Arc<State> {
        self.listener.state()
    }

    /// As it was asked for.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// Serves clients until the process ends.
    pub(super) fn run(&self, backend: Backend) {
        let kind = self.spec.kind;
        let most = Most { all: clients_max(), per_network: Some(DOOR_NETWORK_CLIENTS_MAX) };
        let context = Arc::new(Context { spec: self.spec.clone(), backend });
        let inside = context.clone();
        let serve = move |socket, peer| inside.serve(socket, peer);
        self.listener.run(&format!("door {kind}"), most, serve, |socket, peer, too_many| {
            let reason = match too_many {
                TooMany::All => format!("there are {} clients already", most.all),
                TooMany::FromNetwork => {
                    format!(
                        "there are {DOOR_NETWORK_CLIENTS_MAX} clients from your address already"
                    )
                }
            };
            context.turn_away(socket, peer, &reason);
        });
    }
}

fn clients_max() -> usize {
    files_max().map_or(DOOR_CLIENTS_MAX, |files| (files / FILES_SHARE).clamp(1, DOOR_CLIENTS_MAX))
}

/// What the clients of one door share.
struct Context {
    spec: Spec,
    backend: Backend,
}

impl Context {
    fn serve(&self, socket: TcpStream, peer: SocketAddr) {
        let kind = self.spec.kind;
        tracing::info!("client {peer} connected to door {kind}");
        let served = DoorClient::admit(self, socket, peer).and_then(|mut client| match kind {
            Kind::Share => share::serve(&mut client),
            Kind::Folder => folder::serve(client),
            Kind::Request => request::serve(&mut client),
        });
        match served {
            Ok(()) => tracing::info!("client {peer} disconnected from door {kind}"),
            Err(error) => tracing::warn!("client {peer} disconnected from door {kind}: {error}"),
        }
    }

    /// Tells a client that it cannot be served, where its protocol has words for that.
    fn turn_away(&self, socket: TcpStream, peer: SocketAddr, reason: &str) {
        tracing::warn!("client {peer} turned away from door {}: {reason}", self.spec.kind);
        if self.spec.kind == Kind::Folder {
            // It is turned away whether it can be told or not.
            let _ = Stream::accepted(socket, format!("client {peer}"))
                .and_then(|mut stream| folder::say_farewell(&mut stream, reason));
        }
    }
}

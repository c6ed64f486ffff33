//! Encryption of connections: TLS 1.3, and who is let in or believed.
//!
//! | link | the end that listens shows | the end that connects |
//! |---|---|---|
//! | client and server | its certificate ([`Identity`]) | shows nothing; decides by [`Trust`] |
//! | server and node | the cluster's public key ([`ClusterKey`]) | shows the same, accepts no other |
//!
//! A stream is plain until one of its ends calls [`Acceptor::accept`] or a `connect` here; from then
//! on everything on it is encrypted. What the first byte of a connection is tells the two apart.

mod keys;
mod records;
mod session;
mod verify;

use std::sync::Arc;
use std::time::Duration;

use rustls::client::{AlwaysResolvesClientRawPublicKeys, Resumption, UnbufferedClientConnection};
use rustls::pki_types::ServerName;
use rustls::server::{
    AlwaysResolvesServerRawPublicKeys, NoServerSessionStorage, UnbufferedServerConnection,
};
use rustls::{CertificateError, ClientConfig, ServerConfig};

use self::verify::{AnyKey, OnlyKey, provider};
use crate::core::error::{Code, Error, Result};
use crate::core::io::net::{self, Deadline, Stream};
use crate::core::types::Fingerprint;

pub use self::keys::{ClusterKey, Identity};
pub(in crate::core::io) use self::session::Session;

/// The first byte of an encrypted connection. No protocol of Palk's own begins with it: the sessions
/// begin with a letter, the node protocol with the high byte of a length, which is 0.
pub const FIRST_BYTE: u8 = 0x16;

const HANDSHAKE: Deadline = Deadline::new(Duration::from_secs(10), "agree on encryption");

/// The listening end of encrypted connections.
#[derive(Clone)]
pub struct Acceptor(Arc<ServerConfig>);

impl Acceptor {
    /// For clients, who are shown this and show nothing.
    ///
    /// # Errors
    /// [`Code::Unexpected`] if the encryption cannot be set up.
    pub fn for_clients(identity: &Identity) -> Result<Acceptor> {
        let builder = ServerConfig::builder_with_provider(provider());
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]);
        let resolver = rustls::sign::SingleCertAndKey::from(identity.certified.clone());
        let config =
            builder.map_err(unusable)?.with_no_client_auth().with_cert_resolver(Arc::new(resolver));
        Ok(Acceptor::of(config))
    }

    /// For the server of this cluster and nobody else.
    ///
    /// # Errors
    /// [`Code::Unexpected`] if the encryption cannot be set up.
    pub fn for_cluster(key: &ClusterKey) -> Result<Acceptor> {
        let builder = ServerConfig::builder_with_provider(provider());
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]);
        let resolver = AlwaysResolvesServerRawPublicKeys::new(key.certified.clone());
        let config = builder
            .map_err(unusable)?
            .with_client_cert_verifier(Arc::new(OnlyKey(key.public.clone())))
            .with_cert_resolver(Arc::new(resolver));
        Ok(Acceptor::of(config))
    }

    fn of(mut config: ServerConfig) -> Acceptor {
        // Nobody resumes a session: a client's ends with its process, links to nodes are kept.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Acceptor(Arc::new(config))
    }

    /// Encrypts a connection that was accepted, waiting for what the peer has to say.
    ///
    /// # Errors
    /// If the peer does not encrypt, or is not one that is let in; those of the stream.
    pub fn accept(&self, stream: &mut Stream) -> Result<()> {
        let connection = UnbufferedServerConnection::new(self.0.clone()).map_err(unusable)?;
        stream.encrypt(Session::server(connection), &HANDSHAKE)
    }
}

/// The connecting end of links to nodes.
#[derive(Clone)]
pub struct Connector(Arc<ClientConfig>);

impl Connector {
    /// For the nodes of this cluster and nobody else.
    ///
    /// # Errors
    /// [`Code::Unexpected`] if the encryption cannot be set up.
    pub fn for_cluster(key: &ClusterKey) -> Result<Connector> {
        let builder = ClientConfig::builder_with_provider(provider());
        let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]);
        let resolver = AlwaysResolvesClientRawPublicKeys::new(key.certified.clone());
        let mut config = builder
            .map_err(unusable)?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(OnlyKey(key.public.clone())))
            .with_client_cert_resolver(Arc::new(resolver));
        config.resumption = Resumption::disabled();
        config.enable_sni = false;
        Ok(Connector(Arc::new(config)))
    }

    /// Encrypts a new connection to a node.
    ///
    /// # Errors
    /// If the node does not encrypt or has another key; those of the stream.
    pub fn connect(&self, stream: &mut Stream, deadline: &Deadline) -> Result<()> {
        let name = ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into());
        let connection = UnbufferedClientConnection::new(self.0.clone(), name);
        stream.encrypt(Session::client(connection.map_err(unusable)?), deadline)
    }
}

/// Which server a client believes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Trust {
    /// The one with this key.
    Pinned(Fingerprint),
    /// One on this machine, or one that an authority of this machine vouches for.
    #[default]
    Vouched,
    /// Whichever it is; for finding out what its fingerprint is.
    Any,
}

/// Encrypts a new connection to the server at `address` (`HOST:PORT`) and sees whether it is one to
/// believe. Nothing has been said on it yet when this returns.
///
/// # Errors
/// [`Error::UnknownServer`] or [`Error::ChangedServer`] if it is not, [`Error::PlainAnswer`] if it
/// does not encrypt; those of the stream.
pub fn connect_to_server(stream: &mut Stream, address: &str, trust: &Trust) -> Result<()> {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let unnamed = ServerName::IpAddress(std::net::Ipv4Addr::UNSPECIFIED.into());
    let name = ServerName::try_from(host.to_owned()).unwrap_or(unnamed);
    let builder = ClientConfig::builder_with_provider(provider());
    let builder = builder.with_protocol_versions(&[&rustls::version::TLS13]);
    let mut config = builder
        .map_err(unusable)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyKey))
        .with_no_client_auth();
    config.resumption = Resumption::disabled();
    let connection = UnbufferedClientConnection::new(Arc::new(config), name.clone());
    stream.encrypt(Session::client(connection.map_err(unusable)?), &HANDSHAKE)?;

    let Some(found) = stream.peer_fingerprint() else {
        return Err(Error::Protocol("it shows no key".into()));
    };
    let server = address.to_owned();
    match trust {
        Trust::Any => Ok(()),
        Trust::Pinned(expected) if *expected == found => Ok(()),
        Trust::Pinned(expected) => Err(Error::ChangedServer { server, found, expected: *expected }),
        Trust::Vouched if stream.is_from_loopback() => Ok(()),
        Trust::Vouched => {
            let chain = stream.session().map(Session::peer_certificates).unwrap_or_default();
            let vouched = verify::is_vouched_for(chain, &name);
            if vouched { Ok(()) } else { Err(Error::UnknownServer { server, found }) }
        }
    }
}

/// Refuses an address that other machines can reach, where there is no key that would keep what is
/// said there private.
///
/// # Errors
/// [`Error::NeedsKey`], and those of [`net::is_loopback`].
pub fn check_without_key(address: &str) -> Result<()> {
    if net::is_loopback(address)? { Ok(()) } else { Err(Error::NeedsKey(address.to_owned())) }
}

fn unusable(error: rustls::Error) -> Error {
    Error::other(Code::Unexpected, format!("the encryption cannot be set up: {error}"))
}

/// A failure of the encryption, in words; `name` is the peer's.
fn failed(name: &str, error: &rustls::Error) -> Error {
    match error {
        rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure) => {
            let text = "it has another key than this side: give both the same file with --key";
            Error::other(Code::NotAllowed, text)
        }
        rustls::Error::DecryptError => Error::Damaged("they were changed on the way".into()),
        rustls::Error::InvalidMessage(_) => {
            Error::Protocol(format!("{name} does not encrypt as it should"))
        }
        rustls::Error::AlertReceived(alert) => {
            Error::Protocol(format!("{name} ended the encryption: {alert:?}"))
        }
        other => Error::Protocol(format!("the encryption with {name} failed: {other}")),
    }
}

//! Looking for services in the network: the questions go out, answers are collected for a while.
//!
//! Each question is sent three times, as a datagram may get lost, and each answer may come three times,
//! in both forms, and from several addresses of one machine. What a service is once is decided by
//! `Services`, without any socket:
//!
//! - a server of Palk is one fingerprint and port on one machine;
//! - any other service is one name on one machine, and none at all if a server of Palk has that name
//!   there: it has then answered both questions;
//! - this machine may answer from several addresses. The loopback address is kept, the nearest.
//!
//! Anybody can answer. What they say is checked for its form, and nothing more is believed of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use crate::core::error::{Error, Result};
use crate::core::io::datagram::{Datagrams, addresses_of, is_own};
use crate::core::types::Fingerprint;
use crate::core::wire::discovery::{ANSWER_BYTES_MAX, Answer, PORT, Question, SHARE_PORT};

/// How often each question is sent.
const ROUNDS: u32 = 3;
/// The longest pause between two of them.
const PAUSE_MAX: Duration = Duration::from_millis(500);
/// So many services are collected; a network with more is not one that a list of them helps in.
pub const SERVICES_MAX: usize = 256;

/// A service that was found.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Service {
    /// What it calls itself: `Ann's File Sharing Service`. From elsewhere: escape it.
    pub service: String,
    /// Where it answered, and the TCP port where it serves.
    pub address: SocketAddr,
    /// What a server of Palk says that it is recognised by; nothing for another service.
    pub fingerprint: Option<Fingerprint>,
}

impl Service {
    /// Is it a server of Palk, as far as it says?
    pub fn is_palk(&self) -> bool {
        self.fingerprint.is_some()
    }
}

/// Whom to ask if nobody is named: all machines of the network, and this one, which its own broadcast
/// may not reach.
pub fn everybody() -> Vec<SocketAddr> {
    [Ipv4Addr::BROADCAST, Ipv4Addr::LOCALHOST].map(|ip| SocketAddr::from((ip, PORT))).to_vec()
}

/// The addresses that a list of `HOST:PORT` names.
///
/// # Errors
/// As [`addresses_of`].
pub fn named<S: AsRef<str>>(asked: &[S]) -> Result<Vec<SocketAddr>> {
    let mut all = Vec::new();
    for address in asked {
        // The socket is one of IPv4, as broadcasts are.
        all.extend(addresses_of(address.as_ref())?.into_iter().filter(SocketAddr::is_ipv4));
    }
    Ok(all)
}

/// Asks, collects answers for so long, and gives the services sorted by their names.
///
/// # Errors
/// [`Code::Unreachable`](crate::core::error::Code::Unreachable) if nobody could be asked.
pub fn scan(asked: &[SocketAddr], time: Duration) -> Result<Vec<Service>> {
    let mut socket = Datagrams::for_asking()?;
    let mut services = Services::new(is_own);
    let pause = PAUSE_MAX.min(time / (ROUNDS + 1));
    let begun = Instant::now();
    for round in 1..=ROUNDS {
        ask(&socket, asked)?;
        let until = if round == ROUNDS { time } else { pause * round };
        collect(&mut socket, &mut services, begun + until)?;
    }
    Ok(services.sorted())
}

/// Sends both questions to everybody.
fn ask(socket: &Datagrams, asked: &[SocketAddr]) -> Result<()> {
    let mut failed = None;
    let mut sent = false;
    for question in [Question::Specified, Question::Palk] {
        let datagram = question.encode();
        for address in asked {
            match socket.send(&datagram, *address) {
                Ok(()) => sent = true,
                // A machine without a network has still itself to ask.
                Err(error) => failed = failed.or(Some(error)),
            }
        }
    }
    match failed {
        Some(error) if !sent => Err(error),
        _ => Ok(()),
    }
}

fn collect(
    socket: &mut Datagrams,
    services: &mut Services<fn(IpAddr) -> bool>,
    until: Instant,
) -> Result<()> {
    // One byte more than is taken: a longer answer must not look like a shorter one.
    let mut buffer = [0; ANSWER_BYTES_MAX + 1];
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        match socket.receive(&mut buffer, left.max(Duration::from_millis(1))) {
            Ok(Some((count, from))) => services.heard(&buffer[..count], from),
            Ok(None) => {}
            Err(Error::Io { .. }) if !services.all.is_empty() => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// What has been heard of, each service once.
struct Services<F> {
    all: Vec<Service>,
    is_own: F,
}

impl Services<fn(IpAddr) -> bool> {
    fn new(is_own: fn(IpAddr) -> bool) -> Self {
        Services { all: Vec::new(), is_own }
    }
}

impl<F: Fn(IpAddr) -> bool> Services<F> {
    /// Takes a datagram that came from this address.
    fn heard(&mut self, datagram: &[u8], from: SocketAddr) {
        let Some(answer) = Answer::decode(datagram) else { return };
        let (port, fingerprint) = match &answer {
            Answer::Specified { .. } => (SHARE_PORT, None),
            Answer::Palk { port, fingerprint, .. } => (*port, Some(*fingerprint)),
        };
        let address = SocketAddr::new(from.ip().to_canonical(), port);
        self.add(Service { service: answer.service(), address, fingerprint });
    }

    fn add(&mut self, new: Service) {
        if new.is_palk() {
            let (is_own, new) = (&self.is_own, &new);
            self.all.retain(|old| {
                old.is_palk() || old.service != new.service || !same_machine(is_own, old, new)
            });
        }
        let known = self.all.iter().position(|old| {
            let same = if old.is_palk() && new.is_palk() {
                old.fingerprint == new.fingerprint && old.address.port() == new.address.port()
            } else {
                !new.is_palk() && old.service == new.service
            };
            same && same_machine(&self.is_own, old, &new)
        });
        match known {
            Some(at) => {
                let old = &mut self.all[at];
                // Otherwise the answer to the specified question would give the server another port.
                if new.address.ip().is_loopback() && new.is_palk() == old.is_palk() {
                    old.address = new.address;
                }
            }
            None if self.all.len() < SERVICES_MAX => self.all.push(new),
            None => {}
        }
    }

    fn sorted(mut self) -> Vec<Service> {
        self.all.sort_by(|a, b| (&a.service, a.address).cmp(&(&b.service, b.address)));
        self.all
    }
}

/// Did both answer from one machine? This one has several addresses.
fn same_machine(is_own: &impl Fn(IpAddr) -> bool, one: &Service, other: &Service) -> bool {
    let (one, other) = (one.address.ip(), other.address.ip());
    one == other || (is_own(one) && is_own(other))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::wire::discovery::ServiceName;

    const PRINT: Fingerprint = Fingerprint([7; 32]);

    fn from(ip: &str) -> SocketAddr {
        SocketAddr::new(ip.parse().unwrap(), PORT)
    }

    fn specified(name: &str) -> Vec<u8> {
        Answer::specified(&name.parse::<ServiceName>().unwrap()).encode()
    }

    fn palk(name: &str, port: u16, fingerprint: Fingerprint) -> Vec<u8> {
        Answer::Palk { name: name.parse().unwrap(), port, fingerprint }.encode()
    }

    /// On a machine that is 10.0.0.1 besides the loopback address.
    fn found(heard: &[(Vec<u8>, &str)]) -> Vec<String> {
        let mut services = Services::new(|ip| ip.is_loopback() || ip.to_string() == "10.0.0.1");
        for (datagram, ip) in heard {
            services.heard(datagram, from(ip));
        }
        let palk = |service: &Service| if service.is_palk() { " palk" } else { "" };
        let line = |one: &Service| format!("{} {}{}", one.service, one.address, palk(one));
        services.sorted().iter().map(line).collect()
    }

    #[test]
    fn spec_3_each_service_is_there_once() {
        let ann = || (specified("Ann"), "10.0.0.2");
        let expected = [
            "Ann's File Sharing Service 10.0.0.2:30001",
            "Ann's File Sharing Service 10.0.0.3:30001",
            "Bob's File Sharing Service 10.0.0.2:30001",
        ];
        let heard = [ann(), (specified("Bob"), "10.0.0.2"), ann(), (specified("Ann"), "10.0.0.3")];
        assert_eq!(found(&heard), expected);
    }

    #[test]
    fn this_machine_is_one_whatever_address_it_was_asked_at() {
        let lan = (specified("Ann"), "10.0.0.1");
        let near = (specified("Ann"), "127.0.0.1");
        let expected = ["Ann's File Sharing Service 127.0.0.1:30001"];
        assert_eq!(found(&[lan.clone(), near.clone()]), expected);
        assert_eq!(found(&[near, lan]), expected);
    }

    #[test]
    fn a_server_that_answers_both_questions_is_there_once_as_palk() {
        let plain = (specified("Ann"), "10.0.0.1");
        let lan = (palk("Ann", 17777, PRINT), "10.0.0.1");
        let near = (palk("Ann", 17777, PRINT), "127.0.0.1");
        let expected = ["Ann's File Sharing Service 127.0.0.1:17777 palk"];
        let orders: [[&(Vec<u8>, &str); 3]; 4] = [
            [&plain, &lan, &near],
            [&near, &plain, &lan],
            [&lan, &near, &plain],
            [&near, &lan, &plain],
        ];
        for order in orders {
            let heard: Vec<_> = order.into_iter().cloned().collect();
            assert_eq!(found(&heard).len(), 1, "{heard:?}");
            assert_eq!(found(&heard), expected);
        }
    }

    #[test]
    fn a_server_that_shows_the_fingerprint_of_another_one_does_not_take_its_place() {
        let (right, wrong) = ("10.0.0.2", "10.0.0.66");
        let heard = [(palk("Ann", 17777, PRINT), wrong), (palk("Ann", 17777, PRINT), right)];
        assert_eq!(found(&heard).len(), 2);
    }

    #[test]
    fn two_servers_of_one_machine_are_two() {
        let heard = [
            (specified("Ann"), "10.0.0.2"),
            (palk("Ann", 17777, PRINT), "10.0.0.2"),
            (palk("Ann", 17778, Fingerprint([8; 32])), "10.0.0.2"),
            (specified("Ann"), "10.0.0.2"),
        ];
        assert_eq!(found(&heard).len(), 2);
    }

    #[test]
    fn garbage_is_overlooked_and_a_flood_is_not_kept() {
        assert!(found(&[(b"PALK".to_vec(), "10.0.0.2"), (Vec::new(), "10.0.0.2")]).is_empty());
        let flood: Vec<_> =
            (0..SERVICES_MAX + 10).map(|i| (specified(&format!("name {i}")), "10.0.0.2")).collect();
        assert_eq!(found(&flood).len(), SERVICES_MAX);
    }
}

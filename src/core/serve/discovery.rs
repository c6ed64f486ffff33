//! Answering those who look for services in the network: one thread, one socket, two kinds of answer.
//!
//! What is answered is a value ([`Discovery`]), so whatever is served here is announced by the same
//! thread: a server, a door of it, or both.
//!
//! Invariants: an answer goes to whoever asked and nowhere else; no more than `ANSWERS_PER_ADDRESS`
//! a second to one address and `ANSWERS_IN_ALL` together, since the address may be written into the
//! question by somebody who wants it flooded; who asks is logged once, however often they ask.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::core::error::{Error, Result};
use crate::core::io::datagram::Datagrams;
use crate::core::io::listener::State;
use crate::core::types::Fingerprint;
use crate::core::wire::discovery::{Answer, PALK_QUESTION_BYTES, Question, ServiceName};

/// How many answers one address gets in a second: twice what a scan asks for in all of its time.
const ANSWERS_PER_ADDRESS: u32 = 20;
/// How many answers go out in a second. At their longest they are 40 KB.
const ANSWERS_IN_ALL: u32 = 200;
const WINDOW: Duration = Duration::from_secs(1);
/// Of how many it is remembered that they were logged. Later ones are not logged any more.
const LOGGED_MAX: usize = 1000;
/// How long the thread may take to notice that the server ends.
const LOOK_UP: Duration = Duration::from_millis(250);
/// After an error of the socket, which may come again at once.
const PAUSE: Duration = Duration::from_millis(250);

const _: () = assert!(ANSWERS_PER_ADDRESS < ANSWERS_IN_ALL);

/// What is answered.
#[derive(Clone, Debug)]
pub struct Discovery {
    /// What the service is called.
    pub name: ServiceName,
    /// The server of Palk, if one is to be found; it answers both questions.
    pub palk: Option<Announced>,
    /// Where a share door listens, if there is one. By itself it answers the specified question only.
    pub share: Option<SocketAddr>,
}

/// A server of Palk, as it is announced.
#[derive(Clone, Copy, Debug)]
pub struct Announced {
    /// Where it listens. Whoever cannot reach it there is not told of it.
    pub address: SocketAddr,
    /// What it is recognised by.
    pub fingerprint: Fingerprint,
}

impl Discovery {
    /// The answer to a datagram from this address; nothing if it asks nothing, or nothing that is
    /// served here.
    pub fn answer(&self, datagram: &[u8], from: IpAddr) -> Option<Vec<u8>> {
        match Question::decode(datagram)? {
            Question::Specified => {
                let is_served = |share: SocketAddr| is_reached(share.ip(), from);
                let answers = self.palk.is_some() || self.share.is_some_and(is_served);
                answers.then(|| Answer::specified(&self.name).encode())
            }
            Question::Palk => {
                let palk = self.palk.filter(|palk| is_reached(palk.address.ip(), from))?;
                let Announced { address, fingerprint } = palk;
                let name = self.name.clone();
                Some(Answer::Palk { name, port: address.port(), fingerprint }.encode())
            }
        }
    }
}

/// Does somebody at `from` reach a server that listens on `listen`, at the address that their question
/// went to?
fn is_reached(listen: IpAddr, from: IpAddr) -> bool {
    let (listen, from) = (listen.to_canonical(), from.to_canonical());
    listen.is_unspecified() || listen.is_loopback() == from.is_loopback()
}

/// A socket on which questions may come.
pub struct Answering {
    socket: Datagrams,
}

impl Answering {
    /// Takes questions on `HOST:PORT` (UDP); they wait until [`Answering::start`].
    ///
    /// # Errors
    /// As [`Datagrams::bind`].
    pub fn open(listen: &str) -> Result<Answering> {
        Ok(Answering { socket: Datagrams::bind(listen)? })
    }

    /// Where questions are taken.
    pub fn address(&self) -> SocketAddr {
        self.socket.address()
    }

    /// Answers in a thread of its own until `state` is told to stop. What there is to find is looked up
    /// for each question, since a server may get another key.
    ///
    /// # Errors
    /// If the system has no thread.
    pub fn start(
        self,
        discovery: impl Fn() -> Discovery + Send + 'static,
        state: Arc<State>,
    ) -> Result<()> {
        let thread = thread::Builder::new().name("discovery".to_owned());
        let spawned = thread.spawn(move || self.run(&discovery, &state));
        spawned.map(drop).map_err(Error::io("cannot answer those who look for services"))
    }

    fn run(mut self, discovery: &dyn Fn() -> Discovery, state: &State) {
        let mut budget = Budget::default();
        let mut logged = HashSet::new();
        let begun = Instant::now();
        // One byte more than a question has: what is longer is not cut down to one.
        let mut buffer = [0; PALK_QUESTION_BYTES + 1];
        while !state.is_stopping() {
            let (count, from) = match self.socket.receive(&mut buffer, LOOK_UP) {
                Ok(Some(received)) => received,
                Ok(None) => continue,
                Err(error) => {
                    tracing::warn!("{error}");
                    thread::sleep(PAUSE);
                    continue;
                }
            };
            let Some(answer) = discovery().answer(&buffer[..count], from.ip()) else { continue };
            if !budget.take(from.ip(), begun.elapsed()) {
                continue;
            }
            if logged.len() < LOGGED_MAX && logged.insert(from.ip()) {
                tracing::info!("{} looks for services and is answered", from.ip());
            }
            // Who has asked under a wrong address, or has gone, gets none.
            let _ = self.socket.send(&answer, from);
        }
    }
}

/// How many answers may still go out.
#[derive(Default)]
struct Budget {
    /// Which window is counted; times are cut into windows of equal length.
    window: u128,
    in_all: u32,
    // Never more than `ANSWERS_IN_ALL` addresses.
    per_address: HashMap<IpAddr, u32>,
}

impl Budget {
    /// May this address be answered now? If so, it is counted.
    fn take(&mut self, address: IpAddr, now: Duration) -> bool {
        let window = now.as_nanos() / WINDOW.as_nanos();
        if window != self.window {
            *self = Budget { window, ..Budget::default() };
        }
        if self.in_all >= ANSWERS_IN_ALL {
            return false;
        }
        let count = self.per_address.entry(address).or_default();
        if *count >= ANSWERS_PER_ADDRESS {
            return false;
        }
        *count += 1;
        self.in_all += 1;
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn discovery(listen: &str) -> Discovery {
        let address = listen.parse().unwrap();
        let palk = Announced { address, fingerprint: Fingerprint([7; 32]) };
        Discovery { name: "Ann".parse().unwrap(), palk: Some(palk), share: None }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn a_server_is_told_of_to_those_who_reach_it() {
        let question = Question::Palk.encode();
        for (listen, from, told) in [
            ("0.0.0.0:17777", "10.0.0.9", true),
            ("[::]:17777", "127.0.0.1", true),
            ("127.0.0.1:17777", "127.0.0.1", true),
            ("127.0.0.1:17777", "10.0.0.9", false),
            ("10.0.0.5:17777", "10.0.0.9", true),
            ("10.0.0.5:17777", "127.0.0.1", false),
        ] {
            let answer = discovery(listen).answer(&question, ip(from));
            assert_eq!(answer.is_some(), told, "{listen} {from}");
            assert!(answer.is_none_or(|answer| answer.len() <= question.len()));
            let specified = discovery(listen).answer(b"SERVICE DISCOVERY", ip(from));
            assert_eq!(specified.as_deref(), Some(&b"Ann's File Sharing Service"[..]));
        }
    }

    #[test]
    fn a_share_door_answers_the_specified_question_to_those_who_reach_it() {
        let share = |share: &str| {
            let share = share.parse().ok();
            Discovery { palk: None, share, ..discovery("0.0.0.0:1") }
        };
        let (door, own) = (share("0.0.0.0:30001"), share("127.0.0.1:30001"));
        assert_eq!(door.answer(&Question::Palk.encode(), ip("10.0.0.9")), None);
        assert!(door.answer(b"SERVICE DISCOVERY", ip("10.0.0.9")).is_some());
        assert!(own.answer(b"SERVICE DISCOVERY", ip("127.0.0.1")).is_some());
        assert_eq!(own.answer(b"SERVICE DISCOVERY", ip("10.0.0.9")), None);
        assert_eq!(door.answer(b"anything", ip("10.0.0.9")), None);
    }

    #[test]
    fn an_address_and_everybody_together_get_so_many_answers_a_second() {
        let mut budget = Budget::default();
        let start = Duration::from_millis(1);
        let own = (0..100).filter(|_| budget.take(ip("10.0.0.1"), start)).count();
        assert_eq!(own, ANSWERS_PER_ADDRESS as usize);
        assert!(budget.take(ip("10.0.0.2"), start));
        let all = (0..1000_u32).filter(|i| budget.take(IpAddr::V4((*i).into()), start)).count();
        assert_eq!(all + own + 1, ANSWERS_IN_ALL as usize);
        assert!(budget.per_address.len() <= ANSWERS_IN_ALL as usize);
        assert!(budget.take(ip("10.0.0.1"), start + WINDOW), "the next second");
        assert_eq!(budget.per_address.len(), 1);
    }
}

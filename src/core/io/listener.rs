//! Accepting connections: a thread for each, a limit on how many, and an orderly end.
//!
//! A thread that ends in a panic takes only its own connection with it. Work that must not be cut
//! off (a transfer, a commit) is done under a [`Busy`] guard; [`State::stop`] waits for those and
//! for nothing else, since a connection that only waits for its client would never end.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::core::error::{Code, Error, Result};
use crate::core::io::reason;

/// How long to wait before accepting again after the system had no room for a connection.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long a process that is told to end waits for what is running.
pub const STOP_WAIT: Duration = Duration::from_secs(30);

/// An address on which connections are accepted.
pub struct Listener {
    socket: TcpListener,
    address: SocketAddr,
    state: Arc<State>,
}

/// What the connections of one listener share.
#[derive(Default)]
pub struct State {
    stopping: AtomicBool,
    connections: AtomicUsize,
    accepted: AtomicU64,
    turned_away: AtomicU64,
    busy: Mutex<usize>,
    idle: Condvar,
    last_acts: Mutex<Vec<LastAct>>,
    /// How many connections each network has; see [`network_of`].
    networks: Mutex<HashMap<IpAddr, usize>>,
}

/// How many connections a listener serves at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Most {
    /// From everybody together.
    pub all: usize,
    /// From one network (see [`network_of`]), if that is limited.
    pub per_network: Option<usize>,
}

/// Which limit a connection is one too many for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TooMany {
    /// That for everybody together.
    All,
    /// That for one network.
    FromNetwork,
}

/// Who counts as one where limits and failures are counted by address: an IPv4 address, or the
/// network of an IPv6 address, all of which one customer usually has. Nothing for this machine itself,
/// which everybody on it shares.
pub fn network_of(address: IpAddr) -> Option<IpAddr> {
    match address.to_canonical() {
        address if address.is_loopback() => None,
        IpAddr::V6(address) => {
            let network = address.to_bits() & !u128::from(u64::MAX);
            Some(IpAddr::V6(network.into()))
        }
        address => Some(address),
    }
}

/// Something to do at an orderly end.
type LastAct = Box<dyn FnOnce() + Send>;

/// While this lives, [`State::stop`] waits.
pub struct Busy<'a>(&'a State);

impl State {
    /// Begins work that a stop must wait for; nothing if a stop has begun.
    pub fn begin(&self) -> Option<Busy<'_>> {
        let mut busy = self.busy.lock();
        if self.is_stopping() {
            return None;
        }
        *busy += 1;
        Some(Busy(self))
    }

    /// Has a stop begun?
    pub fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// How many connections there have been, those that are there included.
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// How many were turned away because there were too many.
    pub fn turned_away(&self) -> u64 {
        self.turned_away.load(Ordering::Relaxed)
    }

    /// Is one more connection from this address too many?
    fn is_too_many(&self, most: Most, address: IpAddr) -> Option<TooMany> {
        if self.connections() >= most.all {
            return Some(TooMany::All);
        }
        let network = network_of(address)?;
        let count = self.networks.lock().get(&network).copied().unwrap_or_default();
        (count >= most.per_network?).then_some(TooMany::FromNetwork)
    }

    /// Has this done at the end of [`State::stop`], once: what should not be left behind.
    pub fn at_stop(&self, act: impl FnOnce() + Send + 'static) {
        self.last_acts.lock().push(Box::new(act));
    }

    /// Lets no new work begin, waits for what is running, at most so long, and does what is to be
    /// done last. True if all that was running has ended.
    pub fn stop(&self, longest: Duration) -> bool {
        let all_ended = self.wait_for_work(longest);
        let last_acts = std::mem::take(&mut *self.last_acts.lock());
        last_acts.into_iter().for_each(|act| act());
        all_ended
    }

    fn wait_for_work(&self, longest: Duration) -> bool {
        let mut busy = self.busy.lock();
        self.stopping.store(true, Ordering::SeqCst);
        let until = Instant::now() + longest;
        while *busy > 0 {
            if self.idle.wait_until(&mut busy, until).timed_out() {
                return *busy == 0;
            }
        }
        true
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        *self.0.busy.lock() -= 1;
        self.0.idle.notify_all();
    }
}

impl Listener {
    /// Listens on `HOST:PORT`; port 0 lets the system choose.
    ///
    /// # Errors
    /// [`Code::Usage`] with what to do, if the address is no address or is taken.
    pub fn bind(address: &str) -> Result<Listener> {
        Listener::bind_for(address, "--listen HOST:PORT")
    }

    /// The same where another option than `--listen` names the address.
    ///
    /// # Errors
    /// As [`Listener::bind`].
    pub fn bind_for(address: &str, option: &str) -> Result<Listener> {
        let socket = TcpListener::bind(address).map_err(|error| {
            let advice = match error.kind() {
                std::io::ErrorKind::AddrInUse => format!(
                    "Another program has it, perhaps an outgoing connection that was given this \
                     port. Try again, or name another one with {option}."
                ),
                _ => format!("Name an address of this machine with {option}."),
            };
            let text = format!("cannot listen on {address}: {}", reason(&error));
            Error::advised(Code::Usage, text, advice)
        })?;
        let address = socket.local_addr().map_err(Error::io("cannot tell the own address"))?;
        Ok(Listener { socket, address, state: Arc::new(State::default()) })
    }

    /// The address, with the port that the system chose.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What the connections share.
    pub fn state(&self) -> Arc<State> {
        self.state.clone()
    }

    /// Accepts connections until the process ends, and serves each in a thread of its own. One that
    /// comes when there are as many as there may be is given to `turn_away` instead.
    pub fn run(
        &self,
        name: &str,
        most: Most,
        serve: impl Fn(TcpStream, SocketAddr) + Send + Sync + 'static,
        turn_away: impl Fn(TcpStream, SocketAddr, TooMany),
    ) {
        let serve = Arc::new(serve);
        loop {
            let (socket, peer) = match self.socket.accept() {
                Ok(accepted) => accepted,
                Err(error) => {
                    // No file descriptor is free, or the client was gone already.
                    tracing::warn!("cannot accept a connection: {}", reason(&error));
                    thread::sleep(ACCEPT_PAUSE);
                    continue;
                }
            };
            if let Some(too_many) = self.state.is_too_many(most, peer.ip()) {
                self.state.turned_away.fetch_add(1, Ordering::Relaxed);
                turn_away(socket, peer, too_many);
                continue;
            }
            let counted = Counted::new(self.state.clone(), peer.ip());
            let serve = serve.clone();
            let spawned = thread::Builder::new().name(format!("{name} {peer}")).spawn(move || {
                let _counted = counted;
                serve(socket, peer);
            });
            if let Err(error) = spawned {
                tracing::warn!("cannot serve {peer}: no thread: {}", reason(&error));
            }
        }
    }
}

/// One connection, counted as long as its thread lives, however that ends.
struct Counted {
    state: Arc<State>,
    network: Option<IpAddr>,
}

impl Counted {
    fn new(state: Arc<State>, address: IpAddr) -> Counted {
        let network = network_of(address);
        state.connections.fetch_add(1, Ordering::SeqCst);
        state.accepted.fetch_add(1, Ordering::Relaxed);
        if let Some(network) = network {
            *state.networks.lock().entry(network).or_default() += 1;
        }
        Counted { state, network }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.state.connections.fetch_sub(1, Ordering::SeqCst);
        let Some(network) = self.network else { return };
        let mut networks = self.state.networks.lock();
        if let Some(count) = networks.get_mut(&network) {
            *count -= 1;
            if *count == 0 {
                networks.remove(&network);
            }
        }
    }
}

/// Raises the limit of files and connections that this process may have open as far as the system lets
/// it. The usual limit is made for programs that cannot deal with more.
pub fn raise_files_max() {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum
        && let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })
    {
        tracing::info!("the limit of open files stays as it is: {}", reason(&error.into()));
    }
}

/// How many files and connections this process may have open, if that can be told.
pub fn files_max() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};

    fn start(most: usize) -> (SocketAddr, Arc<State>) {
        let listener = Listener::bind("127.0.0.1:0").unwrap();
        let (address, state) = (listener.address(), listener.state());
        thread::spawn(move || {
            let serve = |mut socket: TcpStream, _| {
                let mut byte = [0];
                while socket.read_exact(&mut byte).is_ok() {
                    assert!(byte != *b"!", "a panic that the test asks for");
                    socket.write_all(&byte).unwrap();
                }
            };
            let most = Most { all: most, per_network: None };
            listener.run("echo", most, serve, |mut socket, _, _| {
                let _ = socket.write_all(b"full");
            });
        });
        (address, state)
    }

    fn echo(socket: &mut TcpStream) -> bool {
        let mut byte = [0];
        socket.write_all(b"x").is_ok() && socket.read_exact(&mut byte).is_ok()
    }

    fn until(condition: impl Fn() -> bool) {
        while !condition() {
            thread::sleep(Duration::from_millis(1));
        }
    }

    #[test]
    fn a_panic_in_one_connection_ends_that_connection_only() {
        let (address, state) = start(10);
        let mut good = TcpStream::connect(address).unwrap();
        let mut bad = TcpStream::connect(address).unwrap();
        assert!(echo(&mut good) && echo(&mut bad));
        assert_eq!(state.connections(), 2);
        bad.write_all(b"!").unwrap();
        assert_eq!(bad.read(&mut [0]).unwrap(), 0, "closed");
        until(|| state.connections() == 1);
        assert!(echo(&mut good));
        assert!(echo(&mut TcpStream::connect(address).unwrap()));
    }

    #[test]
    fn one_connection_too_many_is_turned_away() {
        let (address, state) = start(1);
        let mut first = TcpStream::connect(address).unwrap();
        assert!(echo(&mut first));
        let mut answer = Vec::new();
        TcpStream::connect(address).unwrap().read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"full");
        drop(first);
        until(|| state.connections() == 0);
        assert!(echo(&mut TcpStream::connect(address).unwrap()));
        assert_eq!((state.accepted(), state.turned_away()), (2, 1));
    }

    #[test]
    fn a_network_has_its_share_and_this_machine_no_limit() {
        let state = Arc::new(State::default());
        let most = Most { all: 5, per_network: Some(2) };
        let address = |text: &str| text.parse::<IpAddr>().unwrap();
        let mut counted = Vec::new();
        for (from, expected) in [
            ("10.0.0.1", None),
            ("::ffff:10.0.0.1", None),
            ("10.0.0.1", Some(TooMany::FromNetwork)),
            ("2001:db8::1", None),
            ("2001:db8::2", None),
            ("2001:db8::3", Some(TooMany::FromNetwork)),
            ("127.0.0.1", None),
            ("127.0.0.1", Some(TooMany::All)),
        ] {
            let too_many = state.is_too_many(most, address(from));
            assert_eq!(too_many, expected, "{from}");
            if too_many.is_none() {
                counted.push(Counted::new(state.clone(), address(from)));
            }
        }
        drop(counted.remove(0));
        assert_eq!(state.is_too_many(most, address("10.0.0.1")), None);
        counted.clear();
        assert_eq!((state.connections(), state.networks.lock().len()), (0, 0));
        let local = Most { all: 5, per_network: Some(0) };
        assert_eq!(state.is_too_many(local, address("::1")), None);
    }

    #[test]
    fn a_stop_waits_for_work_and_lets_no_new_work_begin() {
        let state = Arc::new(State::default());
        let busy = state.begin().unwrap();
        assert!(!state.stop(Duration::from_millis(1)));
        assert!(state.begin().is_none());
        thread::scope(|scope| {
            scope.spawn(|| drop(busy));
            assert!(state.stop(Duration::from_secs(60)));
        });
    }

    #[test]
    fn what_is_to_be_done_last_is_done_once() {
        let state = State::default();
        let done = Arc::new(AtomicUsize::new(0));
        let count = done.clone();
        state.at_stop(move || {
            count.fetch_add(1, Ordering::SeqCst);
        });
        let busy = state.begin();
        assert!(!state.stop(Duration::from_millis(1)));
        drop(busy);
        assert!(state.stop(Duration::from_secs(60)));
        assert_eq!(done.load(Ordering::SeqCst), 1);
    }
}

//! Accepting connections: a thread for each, a limit on how many, and an orderly end.
//!
//! A thread that ends in a panic takes only its own connection with it. Work that must not be cut
//! off (a transfer, a commit) is done under a [`Busy`] guard; [`State::stop`] waits for those and
//! for nothing else, since a connection that only waits for its client would never end.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

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
    busy: Mutex<usize>,
    idle: Condvar,
    last_acts: Mutex<Vec<LastAct>>,
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
        let socket = TcpListener::bind(address).map_err(|error| {
            let hint = match error.kind() {
                std::io::ErrorKind::AddrInUse => {
                    "; another program has it (maybe an outgoing connection that was given this \
                     port): try again, or name another one with --listen HOST:PORT"
                }
                _ => "",
            };
            let why = reason(&error);
            Error::other(Code::Usage, format!("cannot listen on {address}: {why}{hint}"))
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
    /// comes when there are `most` already is given to `turn_away` instead.
    pub fn run(
        &self,
        name: &str,
        most: usize,
        serve: impl Fn(TcpStream, SocketAddr) + Send + Sync + 'static,
        turn_away: impl Fn(TcpStream, SocketAddr),
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
            if self.state.connections() >= most {
                turn_away(socket, peer);
                continue;
            }
            let counted = Counted::new(self.state.clone());
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
struct Counted(Arc<State>);

impl Counted {
    fn new(state: Arc<State>) -> Counted {
        state.connections.fetch_add(1, Ordering::SeqCst);
        Counted(state)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::SeqCst);
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
            listener.run("echo", most, serve, |mut socket, _| {
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

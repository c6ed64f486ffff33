//! A relay between two processes that can become a bad network: a black hole that stays connected and
//! forwards nothing, one that is slow, that cuts connections, or that flips bits.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

pub(crate) struct Proxy {
    address: String,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    is_hole: AtomicBool,
    forwarded: AtomicU64,
    /// The part of `forwarded` that came from the far end.
    answered: AtomicU64,
    /// A direction of a connection that has carried so many bytes is held back. 0 is none.
    hold_after: AtomicU64,
    /// How many of them are held back.
    held: AtomicU64,
    /// How long each run of bytes is held back, in milliseconds.
    delay_ms: AtomicU64,
    /// After so many bytes, counted over all connections, one bit is flipped. 0 is never.
    flip_every: AtomicU64,
    /// How many bits were flipped.
    flipped: AtomicU64,
    /// Raised to end all connections that there are.
    cuts: AtomicU64,
    /// Everything that came through, of each direction of each connection, if it is to be kept.
    recorded: Mutex<Option<Vec<Vec<u8>>>>,
}

impl Proxy {
    pub(crate) fn start(target: &str) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let shared = Arc::new(Shared::default());
        let (target, inner) = (target.to_owned(), shared.clone());
        thread::spawn(move || {
            for near in listener.incoming().map_while(Result::ok) {
                let Ok(far) = TcpStream::connect(&target) else { continue };
                for socket in [&near, &far] {
                    socket.set_nodelay(true).unwrap();
                }
                relay(near.try_clone().unwrap(), far.try_clone().unwrap(), inner.clone(), false);
                relay(far, near, inner.clone(), true);
            }
        });
        Proxy { address, shared }
    }

    pub(crate) fn address(&self) -> String {
        self.address.clone()
    }

    /// From now on nothing comes through, or everything again.
    pub(crate) fn set_hole(&self, is_hole: bool) {
        self.shared.is_hole.store(is_hole, Ordering::SeqCst);
    }

    /// From now on a direction of a connection that has carried so many bytes carries no more.
    pub(crate) fn hold_after(&self, bytes: u64) {
        self.shared.hold_after.store(bytes, Ordering::SeqCst);
    }

    /// Is any held back by that?
    pub(crate) fn is_holding(&self) -> bool {
        self.shared.held.load(Ordering::SeqCst) > 0
    }

    /// How many bytes have come back so far.
    pub(crate) fn answered(&self) -> u64 {
        self.shared.answered.load(Ordering::SeqCst)
    }

    /// From now on every run of bytes takes so much longer.
    pub(crate) fn set_delay(&self, milliseconds: u64) {
        self.shared.delay_ms.store(milliseconds, Ordering::SeqCst);
    }

    /// From now on one bit in so many bytes is flipped; 0 is none.
    pub(crate) fn set_flip_every(&self, bytes: u64) {
        self.shared.flip_every.store(bytes, Ordering::SeqCst);
    }

    /// How many bits were flipped so far.
    pub(crate) fn flipped(&self) -> u64 {
        self.shared.flipped.load(Ordering::SeqCst)
    }

    /// From now on everything that comes through is kept.
    pub(crate) fn record(&self) {
        *self.shared.recorded.lock().unwrap() = Some(Vec::new());
    }

    /// Did these bytes come through, in one direction of one connection?
    pub(crate) fn has_seen(&self, bytes: &[u8]) -> bool {
        let recorded = self.shared.recorded.lock().unwrap();
        let runs = recorded.as_ref().unwrap();
        runs.iter().any(|run| run.windows(bytes.len()).any(|window| window == bytes))
    }

    /// Cuts the connections that there are, at the next byte of each.
    pub(crate) fn cut(&self) {
        self.shared.cuts.fetch_add(1, Ordering::SeqCst);
    }

    /// How many bytes have come through so far.
    pub(crate) fn forwarded(&self) -> u64 {
        self.shared.forwarded.load(Ordering::SeqCst)
    }
}

fn relay(mut from: TcpStream, mut to: TcpStream, shared: Arc<Shared>, is_answer: bool) {
    thread::spawn(move || {
        let cuts = shared.cuts.load(Ordering::SeqCst);
        let mut buffer = vec![0; 64 * 1024];
        let (mut run, mut carried) = (None, 0);
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            while shared.is_hole.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(5));
            }
            shared.hold(carried);
            carried += count as u64;
            thread::sleep(Duration::from_millis(shared.delay_ms.load(Ordering::SeqCst)));
            if shared.cuts.load(Ordering::SeqCst) != cuts {
                let _ = from.shutdown(Shutdown::Both);
                let _ = to.shutdown(Shutdown::Both);
                break;
            }
            let bytes = &mut buffer[..count];
            let before = shared.forwarded.fetch_add(count as u64, Ordering::SeqCst);
            if is_answer {
                shared.answered.fetch_add(count as u64, Ordering::SeqCst);
            }
            shared.flip(bytes, before);
            shared.keep(bytes, &mut run);
            if to.write_all(bytes).is_err() {
                break;
            }
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}

impl Shared {
    /// Waits while a direction that has carried so many bytes is to be held back.
    fn hold(&self, carried: u64) {
        let is_due = || match self.hold_after.load(Ordering::SeqCst) {
            0 => false,
            after => carried >= after,
        };
        if is_due() {
            self.held.fetch_add(1, Ordering::SeqCst);
            while is_due() {
                thread::sleep(Duration::from_millis(5));
            }
            self.held.fetch_sub(1, Ordering::SeqCst);
        }
    }

    /// Keeps the bytes if they are to be kept; `run` is where those before them are.
    fn keep(&self, bytes: &[u8], run: &mut Option<usize>) {
        let mut recorded = self.recorded.lock().unwrap();
        if let Some(runs) = recorded.as_mut() {
            let at = *run.get_or_insert_with(|| {
                runs.push(Vec::new());
                runs.len() - 1
            });
            runs[at].extend_from_slice(bytes);
        }
    }

    /// Flips the bit that is due in these bytes, which come after so many others.
    fn flip(&self, bytes: &mut [u8], before: u64) {
        let every = self.flip_every.load(Ordering::SeqCst);
        if every == 0 {
            return;
        }
        let due = (before / every + 1) * every;
        let at = usize::try_from(due - before - 1).unwrap();
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << (due / every % 8);
            self.flipped.fetch_add(1, Ordering::SeqCst);
        }
    }
}

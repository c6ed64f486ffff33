//! A relay between two processes that can become a black hole: it stays connected and forwards
//! nothing, as a network does that is cut somewhere in the middle.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
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
                relay(near.try_clone().unwrap(), far.try_clone().unwrap(), inner.clone());
                relay(far, near, inner.clone());
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

    /// How many bytes have come through so far.
    pub(crate) fn forwarded(&self) -> u64 {
        self.shared.forwarded.load(Ordering::SeqCst)
    }
}

fn relay(mut from: TcpStream, mut to: TcpStream, shared: Arc<Shared>) {
    thread::spawn(move || {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(count @ 1..) = from.read(&mut buffer) {
            while shared.is_hole.load(Ordering::SeqCst) {
                thread::sleep(Duration::from_millis(5));
            }
            if to.write_all(&buffer[..count]).is_err() {
                break;
            }
            shared.forwarded.fetch_add(count as u64, Ordering::SeqCst);
        }
        let _ = to.shutdown(Shutdown::Write);
    });
}

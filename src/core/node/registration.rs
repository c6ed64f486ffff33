//! Which server a node serves, and when it last heard of it.
//!
//! Invariants: the epoch only grows, and is on disk before its server is welcomed. What a server has
//! asked for is done under [`Admitted`], and registering waits until no one is held: once a newer server
//! has been welcomed, nothing that an older one has asked for is done any more. Code that holds an
//! `Admitted` asks it, not the [`Registration`], what is registered: behind a newer server that waits,
//! a second read lock would wait for that server, and the server for the first lock.
//!
//! When a server was last heard of is not kept on disk: after a restart the node has not heard of
//! anybody, and a server that runs is heard of again within a second.

use std::path::Path;
use std::time::Duration;

use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use crate::core::error::{Code, Error, NodeFailure, Result};
use crate::core::fence::{self, Admission};
use crate::core::types::{Claim, ClusterId, NodeId};

/// The cluster that a node belongs to and the server that it serves.
pub struct Registration {
    current: RwLock<Current>,
    heard: Mutex<Heard>,
}

#[derive(Clone, Copy)]
struct Current {
    cluster: Option<ClusterId>,
    claim: Option<Claim>,
}

/// Of the server that is served.
#[derive(Clone, Copy)]
enum Heard {
    /// Not since the node started.
    Never,
    /// Last then.
    At(Duration),
    /// It has said good-bye: what still comes from it is no sign that it goes on.
    Gone,
}

/// A server that may go on with what it has asked for. As long as this lives no newer one registers.
pub struct Admitted<'a> {
    current: RwLockReadGuard<'a, Current>,
}

impl Admitted<'_> {
    /// The cluster that the node belongs to.
    pub(super) fn cluster(&self) -> Option<ClusterId> {
        self.current.cluster
    }
}

impl Registration {
    pub(super) fn new(cluster: Option<ClusterId>, claim: Option<Claim>) -> Registration {
        let current = RwLock::new(Current { cluster, claim });
        Registration { current, heard: Mutex::new(Heard::Never) }
    }

    /// The cluster that the node belongs to, and the claim of the server that it serves. Not to be
    /// called while an [`Admitted`] is held.
    pub fn current(&self) -> (Option<ClusterId>, Option<Claim>) {
        let current = self.current.read();
        (current.cluster, current.claim)
    }

    /// How long before `now` that server was last heard of; `None` if it has not been since the node
    /// started, or has said good-bye.
    pub fn heard_ago(&self, now: Duration) -> Option<Duration> {
        match *self.heard.lock() {
            Heard::At(at) => Some(now.saturating_sub(at)),
            Heard::Never | Heard::Gone => None,
        }
    }

    /// Registers a server; `keep` makes it durable.
    pub(super) fn register(
        &self,
        node: NodeId,
        root: &Path,
        cluster: ClusterId,
        claim: Claim,
        now: Duration,
        keep: impl FnOnce() -> Result<()>,
    ) -> Result<()> {
        if self.hear_again(cluster, claim, now) {
            return Ok(());
        }
        let mut current = self.current.write();
        if let Some(own) = current.cluster.filter(|own| *own != cluster) {
            return Err(Error::other(
                Code::NotAllowed,
                format!(
                    "node {node} keeps the files of another cluster ({own}) in {}; \
                     start it with the folder of this one, or with an empty folder",
                    root.display()
                ),
            ));
        }
        match fence::admit(current.claim, claim) {
            Admission::Current => self.hear(now),
            Admission::Newer => {
                keep()?;
                *current = Current { cluster: Some(cluster), claim: Some(claim) };
                *self.heard.lock() = Heard::At(now);
            }
            Admission::Fenced(epoch) => return Err(fenced(node, epoch)),
            Admission::Absurd => {
                let why = format!("{} is no epoch that a server can have", claim.epoch);
                return Err(Error::node(node, NodeFailure::Refused(why)));
            }
        }
        Ok(())
    }

    /// Is it the server that is served already? It says hello on every connection, and then nobody
    /// has to wait for anybody.
    fn hear_again(&self, cluster: ClusterId, claim: Claim, now: Duration) -> bool {
        let current = self.current.read();
        let is_known = current.cluster == Some(cluster)
            && fence::admit(current.claim, claim) == Admission::Current;
        if is_known {
            self.hear(now);
        }
        is_known
    }

    pub(super) fn admit(&self, node: NodeId, claim: Claim, now: Duration) -> Result<Admitted<'_>> {
        let current = self.current.read();
        match current.claim {
            Some(own) if own == claim => {
                self.hear(now);
                Ok(Admitted { current })
            }
            own => Err(fenced(node, own.map_or(0, |own| own.epoch))),
        }
    }

    /// The server ends: it need not be waited for.
    ///
    /// # Errors
    /// [`NodeFailure::Fenced`] if it is not the one that is served.
    pub fn bye(&self, node: NodeId, claim: Claim, now: Duration) -> Result<()> {
        let _admitted = self.admit(node, claim, now)?;
        *self.heard.lock() = Heard::Gone;
        Ok(())
    }

    fn hear(&self, now: Duration) {
        let mut heard = self.heard.lock();
        *heard = match *heard {
            Heard::Gone => Heard::Gone,
            // Two connections may come out of turn.
            Heard::At(at) => Heard::At(at.max(now)),
            Heard::Never => Heard::At(now),
        };
    }
}

fn fenced(node: NodeId, epoch: u64) -> Error {
    Error::node(node, NodeFailure::Fenced { epoch })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::io::disk::RealDisk;
    use crate::core::io::frames;
    use crate::core::io::listener::Listener;
    use crate::core::io::net::{Deadline, Stream};
    use crate::core::node::service;
    use crate::core::node::store::BlockStore;
    use crate::core::types::ServerId;
    use crate::core::wire::node::{PROTOCOL, Reply, Request};
    use crate::deadlocks;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;
    use std::thread;
    use std::time::Instant;

    const CLUSTER: ClusterId = ClusterId([1; 16]);

    /// Only a hang takes this long.
    const HANG: Deadline = Deadline::new(Duration::from_secs(60), "answer");

    fn claim(epoch: u64, server: u8) -> Claim {
        Claim { epoch, server: ServerId([server; 16]) }
    }

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn open(root: &Path) -> BlockStore {
        deadlocks::watch();
        BlockStore::open(Arc::new(RealDisk), root, NodeId::ALL[1]).unwrap()
    }

    fn until(mut condition: impl FnMut() -> bool) {
        let begun = Instant::now();
        while !condition() {
            assert!(begun.elapsed() < HANG.limit);
            thread::yield_now();
        }
    }

    fn fenced_by<T>(result: Result<T>) -> u64 {
        match result.err() {
            Some(Error::Node { why: NodeFailure::Fenced { epoch }, .. }) => epoch,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_highest_epoch_is_served_also_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        store.register(CLUSTER, claim(5, 1), at(0)).unwrap();
        store.register(CLUSTER, claim(5, 1), at(0)).unwrap();
        for store in [store, open(folder.path())] {
            assert_eq!(fenced_by(store.register(CLUSTER, claim(4, 9), at(0))), 5);
            assert_eq!(fenced_by(store.register(CLUSTER, claim(5, 2), at(0))), 5);
            assert_eq!(store.registration().current(), (Some(CLUSTER), Some(claim(5, 1))));
            store.admit(claim(5, 1), at(0)).unwrap();
        }
        let store = open(folder.path());
        store.register(CLUSTER, claim(6, 2), at(0)).unwrap();
        assert_eq!(fenced_by(store.admit(claim(5, 1), at(0))), 6);
        let absurd = store.register(CLUSTER, claim(u64::MAX, 3), at(0)).unwrap_err();
        assert!(matches!(absurd, Error::Node { why: NodeFailure::Refused(_), .. }));
    }

    #[test]
    fn what_is_asked_for_is_a_sign_of_life_until_good_bye() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        let heard_ago = |store: &BlockStore, ms| store.registration().heard_ago(at(ms));
        assert_eq!(heard_ago(&store, 9), None);
        store.register(CLUSTER, claim(1, 1), at(10)).unwrap();
        assert_eq!(heard_ago(&store, 15), Some(at(5)));
        drop(store.admit(claim(1, 1), at(30)).unwrap());
        assert!(store.admit(claim(1, 2), at(40)).is_err());
        assert_eq!(heard_ago(&store, 50), Some(at(20)));
        store.registration().bye(NodeId::ALL[1], claim(1, 1), at(60)).unwrap();
        drop(store.admit(claim(1, 1), at(70)).unwrap());
        assert_eq!(heard_ago(&store, 80), None);
        store.register(CLUSTER, claim(2, 2), at(90)).unwrap();
        fenced_by(store.registration().bye(NodeId::ALL[1], claim(1, 1), at(95)));
        assert_eq!(heard_ago(&store, 99), Some(at(9)));
        assert_eq!(heard_ago(&open(folder.path()), 99), None, "not kept");
    }

    #[test]
    fn a_newer_server_waits_for_what_is_being_done() {
        let folder = tempfile::tempdir().unwrap();
        let store = open(folder.path());
        store.register(CLUSTER, claim(1, 1), at(0)).unwrap();
        let registered = AtomicBool::new(false);
        thread::scope(|scope| {
            let admitted = store.admit(claim(1, 1), at(0)).unwrap();
            scope.spawn(|| {
                store.register(CLUSTER, claim(2, 2), at(0)).unwrap();
                registered.store(true, Ordering::SeqCst);
            });
            // However long it takes for the other thread to begin, it cannot have finished.
            for _ in 0..1000 {
                thread::yield_now();
                assert!(!registered.load(Ordering::SeqCst));
            }
            drop(admitted);
        });
        assert!(registered.load(Ordering::SeqCst));
        fenced_by(store.admit(claim(1, 1), at(0)));
    }

    #[test]
    fn a_server_that_is_served_says_hello_again_while_something_is_being_done() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(open(folder.path()));
        store.register(CLUSTER, claim(1, 1), at(0)).unwrap();
        let _admitted = store.admit(claim(1, 1), at(0)).unwrap();
        let (again, (tell, told)) = (store.clone(), mpsc::channel());
        thread::spawn(move || tell.send(again.register(CLUSTER, claim(1, 1), at(5))));
        told.recv_timeout(HANG.limit).unwrap().unwrap();
        assert_eq!(store.registration().heard_ago(at(7)), Some(at(2)));
    }

    #[test]
    fn a_request_is_answered_while_a_newer_server_waits_for_it() {
        let folder = tempfile::tempdir().unwrap();
        let store = Arc::new(open(folder.path()));
        let listener = Listener::bind("127.0.0.1:0").unwrap();
        let address = listener.address().to_string();
        let served = store.clone();
        thread::spawn(move || service::run(&listener, &served, None, None));
        let mut stream = Stream::connect("node", &address, &HANG).unwrap();
        let (node, claim_now) = (store.id(), claim(1, 1));
        let hello = Request::Hello { protocol: PROTOCOL, cluster: CLUSTER, node, claim: claim_now };
        frames::send(&mut stream, &hello, &[], &HANG).unwrap();
        let welcome = frames::receive(&mut stream, &mut Vec::new(), &HANG, &HANG).unwrap();
        assert!(matches!(welcome, Some(Reply::Welcome { .. })));

        // Stops the request where it has just been admitted.
        let registration = store.registration();
        let stop = registration.heard.lock();
        frames::send(&mut stream, &Request::Ping { decided: 0 }, &[], &HANG).unwrap();
        until(|| registration.current.try_write().is_none());
        let newer = store.clone();
        let registering = thread::spawn(move || newer.register(CLUSTER, claim(2, 2), at(0)));
        until(|| registration.current.try_read().is_none());
        drop(stop);
        let answer = frames::receive(&mut stream, &mut Vec::new(), &HANG, &HANG).unwrap();
        assert!(matches!(answer, Some(Reply::Alive(_))));
        registering.join().unwrap().unwrap();
    }
}

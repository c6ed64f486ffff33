//! The transfers of users that run now, and how far each is.
//!
//! A transfer is in the register as long as its [`Transfer`] lives. Counting its bytes is one atomic
//! addition, and takes no lock.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use crate::core::status::{Direction, Flow, RunningTransfer, Transfers};
use crate::core::wire::node::Place;

/// The register of transfers.
#[derive(Default)]
pub struct Traffic(Mutex<Register>);

#[derive(Default)]
struct Register {
    running: BTreeMap<u64, Arc<Progress>>,
    /// The number of the next transfer.
    next: u64,
    /// Bytes that ended transfers have moved, for each direction.
    ended_bytes: [u64; 2],
}

struct Progress {
    direction: Direction,
    place: Place,
    total_bytes: u64,
    bytes: AtomicU64,
    begun: Instant,
}

/// A user's transfer. It is in the register until this is dropped.
pub struct Transfer {
    traffic: Arc<Traffic>,
    number: u64,
    progress: Arc<Progress>,
}

impl Traffic {
    /// Registers a transfer of so many bytes.
    pub fn enter(
        self: &Arc<Self>,
        direction: Direction,
        place: Place,
        total_bytes: u64,
    ) -> Transfer {
        let bytes = AtomicU64::new(0);
        let begun = Instant::now();
        let progress = Arc::new(Progress { direction, place, total_bytes, bytes, begun });
        let mut register = self.0.lock();
        let number = register.next;
        register.next += 1;
        register.running.insert(number, progress.clone());
        Transfer { traffic: self.clone(), number, progress }
    }

    /// Is any running?
    pub fn is_running(&self) -> bool {
        !self.0.lock().running.is_empty()
    }

    /// How far they are. The oldest are named, `names_max` at most.
    pub fn transfers(&self, names_max: usize) -> Transfers {
        let register = self.0.lock();
        let flow = |direction: Direction| {
            let mut flow = Flow { running: 0, bytes: register.ended_bytes[direction as usize] };
            for progress in register.running.values().filter(|one| one.direction == direction) {
                flow.running += 1;
                flow.bytes += progress.bytes();
            }
            flow
        };
        let (stores, retrievals) = (flow(Direction::Store), flow(Direction::Retrieve));
        let named = register.running.iter().take(names_max);
        let running = named.map(|(number, progress)| progress.told(*number)).collect();
        Transfers { stores, retrievals, running }
    }
}

impl Progress {
    fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    fn told(&self, id: u64) -> RunningTransfer {
        RunningTransfer {
            id,
            direction: self.direction,
            name: self.place.to_string(),
            bytes: self.bytes(),
            total_bytes: self.total_bytes,
            age_ms: u64::try_from(self.begun.elapsed().as_millis()).unwrap_or(u64::MAX),
        }
    }
}

impl Transfer {
    /// Counts bytes that have moved.
    pub fn moved(&self, bytes: usize) {
        self.progress.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }
}

impl Drop for Transfer {
    fn drop(&mut self) {
        let mut register = self.traffic.0.lock();
        register.running.remove(&self.number);
        register.ended_bytes[self.progress.direction as usize] += self.progress.bytes();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::path::{FilePath, UserName};

    fn place(path: &str) -> Place {
        Place { user: UserName::parse("ann").unwrap(), path: FilePath::parse_rooted(path).unwrap() }
    }

    #[test]
    fn a_transfer_is_told_while_it_runs_and_its_bytes_are_counted_for_good() {
        let traffic = Arc::new(Traffic::default());
        assert!(!traffic.is_running());
        let store = traffic.enter(Direction::Store, place("a/b"), 100);
        let retrieve = traffic.enter(Direction::Retrieve, place("c"), 50);
        store.moved(30);
        store.moved(10);
        retrieve.moved(50);
        let told = traffic.transfers(10);
        assert_eq!(told.stores, Flow { running: 1, bytes: 40 });
        assert_eq!(told.retrievals, Flow { running: 1, bytes: 50 });
        let names: Vec<_> = told.running.iter().map(|one| (one.name.as_str(), one.bytes)).collect();
        assert_eq!(names, [("/ann/a/b", 40), ("/ann/c", 50)]);

        drop(store);
        assert!(traffic.is_running());
        let told = traffic.transfers(0);
        assert_eq!(told.stores, Flow { running: 0, bytes: 40 });
        assert!(told.running.is_empty() && told.retrievals.running == 1);
        drop(retrieve);
        assert!(!traffic.is_running());
        assert_eq!(traffic.transfers(10).retrievals, Flow { running: 0, bytes: 50 });
    }
}

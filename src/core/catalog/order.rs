//! The order of changes: sequence numbers, running stores, and deletions that stores must not undo.
//!
//! A change draws its number when it starts and the highest number decides. So while a store with a
//! lower number still runs, the number of a finished deletion must be kept, or the store would bring
//! the file back. So are the paths that a move has touched: what was running there is refused, since
//! the move has taken along what it would have replaced. After a restart no store is running and there
//! is nothing to keep.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::core::catalog::UserId;
use crate::core::path::FilePath;
use crate::core::types::{Seq, VersionId};

/// How many numbers are reserved at once.
pub(super) const RESERVE: u64 = 10_000;

/// Numbers drawn and stores running, in memory.
pub(super) struct Order {
    last: Seq,
    reserved: Seq,
    running: HashMap<VersionId, Seq>,
    deleted: HashMap<(UserId, FilePath), Seq>,
    /// Files and folders that were moved away or to.
    moved: HashMap<(UserId, String), Seq>,
}

impl Order {
    pub(super) fn after(last: Seq) -> Order {
        let (running, deleted, moved) = (HashMap::new(), HashMap::new(), HashMap::new());
        Order { last, reserved: last, running, deleted, moved }
    }

    /// The number to reserve up to before the next can be drawn, if that is needed.
    pub(super) fn to_reserve(&self) -> Option<Seq> {
        (self.last >= self.reserved).then_some(Seq(self.last.0 + RESERVE))
    }

    pub(super) fn reserved(&mut self, up_to: Seq) {
        self.reserved = up_to;
    }

    /// The highest number that has been drawn, or was reserved by an earlier process.
    pub(super) fn last(&self) -> Seq {
        self.last
    }

    pub(super) fn draw(&mut self) -> Seq {
        debug_assert!(self.last < self.reserved, "a number is reserved before it is drawn");
        self.last.0 += 1;
        self.last
    }

    pub(super) fn begin(&mut self, version: VersionId) -> Seq {
        let seq = self.draw();
        self.running.insert(version, seq);
        seq
    }

    fn end(&mut self, version: VersionId) {
        self.running.remove(&version);
        let lowest = self.running.values().min().copied();
        self.deleted.retain(|_, seq| lowest.is_some_and(|lowest| lowest < *seq));
        self.moved.retain(|_, seq| lowest.is_some_and(|lowest| lowest < *seq));
    }

    /// Every store with this number or a lower one has ended.
    pub(super) fn horizon(&self) -> Seq {
        let lowest = self.running.values().min();
        lowest.map_or(self.last, |lowest| Seq(lowest.0.saturating_sub(1)))
    }

    pub(super) fn is_running(&self, version: VersionId) -> bool {
        self.running.contains_key(&version)
    }

    pub(super) fn note_deleted(&mut self, user: UserId, path: &FilePath, seq: Seq) {
        if self.running.values().any(|running| *running < seq) {
            let kept = self.deleted.entry((user, path.clone())).or_insert(seq);
            *kept = seq.max(*kept);
        }
    }

    /// A file or folder of this name was moved away, or to it.
    pub(super) fn note_moved(&mut self, user: UserId, path: &str, seq: Seq) {
        if self.running.values().any(|running| *running < seq) {
            self.moved.insert((user, path.to_owned()), seq);
        }
    }

    /// Was a file of this name moved away or to it since, or a folder above it?
    pub(super) fn moved_after(&self, user: UserId, path: &str, seq: Seq) -> bool {
        let concerns = |moved: &str| {
            path.strip_prefix(moved).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let mut moves = self.moved.iter();
        moves.any(|((owner, moved), at)| *owner == user && *at > seq && concerns(moved))
    }

    pub(super) fn deleted_after(&self, user: UserId, path: &FilePath, seq: Seq) -> bool {
        // The key is cloned only where something was deleted while stores ran.
        !self.deleted.is_empty()
            && self.deleted.get(&(user, path.clone())).is_some_and(|deleted| *deleted > seq)
    }
}

/// A running store: its version and its place in the order. Dropping it ends the store.
pub struct Ticket {
    order: Arc<Mutex<Order>>,
    /// The new version.
    pub version: VersionId,
    /// Its number.
    pub seq: Seq,
}

impl Ticket {
    pub(super) fn new(order: Arc<Mutex<Order>>, version: VersionId, seq: Seq) -> Ticket {
        Ticket { order, version, seq }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.order.lock().end(self.version);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_is_remembered_while_a_lower_store_runs() {
        let mut order = Order::after(Seq(0));
        order.reserved(Seq(100));
        let (user, path) = (UserId(1), FilePath::parse_rooted("a").unwrap());
        let (low, high) = (VersionId([1; 16]), VersionId([2; 16]));
        let low_seq = order.begin(low);
        let deletion = order.draw();
        let high_seq = order.begin(high);
        order.note_deleted(user, &path, deletion);
        assert!(order.deleted_after(user, &path, low_seq));
        assert!(!order.deleted_after(user, &path, high_seq));
        assert_eq!(order.horizon(), Seq(low_seq.0 - 1));
        order.end(low);
        assert_eq!(order.horizon(), Seq(high_seq.0 - 1));
        assert!(order.deleted.is_empty());
    }

    #[test]
    fn a_move_is_remembered_for_all_that_lies_below_it_while_a_lower_store_runs() {
        let mut order = Order::after(Seq(0));
        order.reserved(Seq(100));
        let low = order.begin(VersionId([1; 16]));
        let moved = order.draw();
        order.note_moved(UserId(1), "a/b", moved);
        for (path, concerned) in [("a/b", true), ("a/b/c", true), ("a/bc", false), ("a", false)] {
            assert_eq!(order.moved_after(UserId(1), path, low), concerned, "{path}");
        }
        assert!(!order.moved_after(UserId(2), "a/b", low));
        assert!(!order.moved_after(UserId(1), "a/b", Seq(moved.0 + 1)));
        order.end(VersionId([1; 16]));
        assert!(order.moved.is_empty());
    }

    #[test]
    fn a_deletion_is_not_kept_where_no_store_could_undo_it() {
        let mut order = Order::after(Seq(7));
        assert_eq!(order.to_reserve(), Some(Seq(7 + RESERVE)));
        order.reserved(Seq(7 + RESERVE));
        let seq = order.draw();
        order.note_deleted(UserId(1), &FilePath::parse_rooted("a").unwrap(), seq);
        assert!(order.deleted.is_empty());
    }
}

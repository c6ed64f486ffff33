//! A node in the test's own process: a block store without sockets, which can be switched off and
//! counts the bytes that it sends.

#![allow(dead_code)] // each test binary uses its own part

#[path = "deadlocks.rs"]
mod deadlocks;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use palk::core::cluster::node::{Node, PieceSink, PieceSource, Query};
use palk::core::error::{Error, NodeFailure, Result};
use palk::core::node::stage::Stage;
use palk::core::node::store::BlockStore;
use palk::core::types::{Claim, Digest, NodeId, Seq, VersionId};
use palk::core::wire::journal::{Entry, JournalState, Point};
use palk::core::wire::node::{Alive, Append, PieceMeta, Serves, ViewReport};
use palk::core::wire::snapshot::{SnapshotReply, SnapshotRequest};
use parking_lot::RwLock;

/// A node in this process, which can be switched off and counts the bytes that it sends.
pub(crate) struct LocalNode {
    store: Arc<RwLock<Arc<BlockStore>>>,
    pub(crate) off: Arc<AtomicBool>,
    pub(crate) sent: Arc<AtomicU64>,
    /// Of the server that asks; whoever has none is let in.
    claim: Option<Claim>,
}

impl LocalNode {
    pub(crate) fn new(store: BlockStore) -> LocalNode {
        deadlocks::watch();
        LocalNode {
            store: Arc::new(RwLock::new(Arc::new(store))),
            off: Arc::default(),
            sent: Arc::default(),
            claim: None,
        }
    }

    /// The same node, as the server with this claim sees it.
    pub(crate) fn seen_by(&self, claim: Claim) -> LocalNode {
        let LocalNode { store, off, sent, .. } = self;
        let (store, off, sent) = (store.clone(), off.clone(), sent.clone());
        LocalNode { store, off, sent, claim: Some(claim) }
    }

    pub(crate) fn store(&self) -> Arc<BlockStore> {
        self.store.read().clone()
    }

    /// Its folder was opened anew.
    pub(crate) fn restarted(&self, store: BlockStore) {
        *self.store.write() = Arc::new(store);
    }

    /// Does all that waits to be done in the background, and can be done now.
    pub(crate) fn work_off(&self) {
        let store = self.store();
        while matches!(store.write_out(), Ok(true)) {}
        while matches!(store.follow(), Ok(true)) {}
    }

    fn check(&self) -> Result<()> {
        if self.off.load(Ordering::SeqCst) {
            let why = NodeFailure::Unreachable("switched off".into());
            return Err(Error::Node { node: self.store().id(), why });
        }
        match self.claim {
            Some(claim) => self.store().admit(claim, Duration::ZERO).map(drop),
            None => Ok(()),
        }
    }
}

impl Node for LocalNode {
    fn id(&self) -> NodeId {
        self.store().id()
    }

    fn ping(&self, decided: u64) -> Result<Alive> {
        self.check()?;
        self.store().decided(decided);
        self.store().alive()
    }

    fn stage(&self, meta: &PieceMeta) -> Result<Box<dyn PieceSink>> {
        self.check()?;
        let stage = self.store().stage(meta.clone())?;
        Ok(Box::new(LocalSink { stage: Some(stage), staged: None }))
    }

    fn read(&self, query: &Query) -> Result<Box<dyn PieceSource>> {
        self.check()?;
        let (store, sent) = (self.store(), self.sent.clone());
        Ok(Box::new(LocalSource { store, query: query.clone(), sent }))
    }

    fn verify(&self, version: VersionId, first_stripe: u64, stripes: u64) -> Result<Vec<[u64; 2]>> {
        self.check()?;
        self.store().open_piece(version).verify(first_stripe, stripes)
    }

    fn append(&self, append: &Append, body: &[&[u8]]) -> Result<JournalState> {
        self.check()?;
        self.store().append(append, &body.concat())
    }

    fn point_at(&self, id: u64) -> Result<Option<Point>> {
        self.check()?;
        self.store().point_at(id)
    }

    fn entries(&self, after: Point, take: &mut dyn FnMut(Vec<Entry>) -> Result<()>) -> Result<()> {
        self.check()?;
        self.store().entries(after, take)
    }

    fn snapshot(&self, request: &SnapshotRequest, body: &[u8]) -> Result<(SnapshotReply, Vec<u8>)> {
        self.check()?;
        let mut out = Vec::new();
        let (cluster, _) = self.store().registration().current();
        let reply = self.store().snapshot(cluster, request, body, &mut out)?;
        Ok((reply, out))
    }

    fn pieces(&self, after: Option<VersionId>) -> Result<Vec<VersionId>> {
        self.check()?;
        self.store().pieces(after, 100)
    }

    fn lacks(&self, versions: &[VersionId]) -> Result<Vec<VersionId>> {
        self.check()?;
        self.store().lacks(versions)
    }

    fn discard(&self, versions: &[VersionId]) -> Result<()> {
        self.check()?;
        self.store().discard(versions)
    }

    fn close_gap(&self, gap: u64) -> Result<()> {
        self.check()?;
        self.store().close_gap(gap)
    }

    fn check_view(&self) -> Result<ViewReport> {
        self.check()?;
        self.store().check_view()
    }

    fn greeted(&self) -> Option<JournalState> {
        self.check().and_then(|()| self.store().journal_state()).ok()
    }

    fn register_as(&self, _: Claim) {
        unreachable!("nobody refuses it");
    }

    fn forget_connections(&self) {}

    fn who_serves_at(&self, address: &str) -> Result<Serves> {
        let why = NodeFailure::Unreachable(format!("nobody is at {address}"));
        Err(Error::Node { node: self.store().id(), why })
    }

    fn who_serves(&self) -> Result<Serves> {
        self.check()?;
        let (cluster, _) = self.store().registration().current();
        Ok(Serves {
            cluster,
            node: self.store().id(),
            epoch: 0,
            server: None,
            heard_ms_ago: None,
            folder: String::new(),
        })
    }

    fn move_to(&self, _: &str) {}

    fn bye(&self) -> Result<()> {
        self.check()
    }
}

struct LocalSink {
    stage: Option<Stage>,
    staged: Option<Result<()>>,
}

impl PieceSink for LocalSink {
    fn units(&mut self, units: [&[u8]; 2], checksums: [u64; 2]) -> Result<()> {
        self.stage.as_mut().unwrap().units(units, checksums)
    }

    fn shorten(&mut self, file_bytes: u64) -> Result<()> {
        self.stage.as_mut().unwrap().shorten(file_bytes)
    }

    fn keep_alive(&mut self) -> Result<()> {
        Ok(())
    }

    fn ask_finish(&mut self, seq: Seq, blake3: Digest) -> Result<()> {
        self.staged = self.stage.take().map(|stage| stage.finish(seq, blake3));
        Ok(())
    }

    fn await_staged(&mut self) -> Result<()> {
        self.staged.take().unwrap()
    }
}

struct LocalSource {
    store: Arc<BlockStore>,
    query: Query,
    sent: Arc<AtomicU64>,
}

impl PieceSource for LocalSource {
    fn units(&mut self, body: &mut Vec<u8>) -> Result<[u64; 2]> {
        let mut piece = self.store.open_piece(self.query.version);
        let checksums = piece.units(self.query.first_stripe, self.query.select, body)?;
        self.query.first_stripe += 1;
        self.sent.fetch_add(body.len() as u64, Ordering::SeqCst);
        Ok(checksums)
    }
}

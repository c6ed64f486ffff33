//! A node in the test's own process: a block store without sockets, which can be switched off and
//! counts the bytes that it sends.

#![allow(dead_code)] // each test binary uses its own part

#[path = "deadlocks.rs"]
mod deadlocks;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use palk::core::cluster::node::{InventoryPages, Node, PieceSink, PieceSource, Query};
use palk::core::error::{Error, NodeFailure, Result};
use palk::core::node::store::BlockStore;
use palk::core::types::{Digest, NodeId, VersionId};
use palk::core::wire::backup::{Answer, Ask, Finding};
use palk::core::wire::node::{
    Formerly, InventoryEntry, Order, Outcome, PieceMeta, Place, Room, Serves,
};

/// A node in this process, which can be switched off and counts the bytes that it sends.
pub(crate) struct LocalNode {
    pub(crate) store: Arc<BlockStore>,
    pub(crate) off: AtomicBool,
    pub(crate) sent: Arc<AtomicU64>,
}

impl LocalNode {
    pub(crate) fn new(store: BlockStore) -> LocalNode {
        deadlocks::watch();
        LocalNode { store: Arc::new(store), off: AtomicBool::new(false), sent: Arc::default() }
    }
}

impl LocalNode {
    fn check(&self) -> Result<()> {
        if self.off.load(Ordering::SeqCst) {
            let why = NodeFailure::Unreachable("switched off".into());
            return Err(Error::Node { node: self.store.id(), why });
        }
        Ok(())
    }
}

impl Node for LocalNode {
    fn id(&self) -> NodeId {
        self.store.id()
    }

    fn ping(&self) -> Result<Option<Room>> {
        self.check()?;
        Ok(self.store.room().ok())
    }

    fn stage(&self, meta: &PieceMeta) -> Result<Box<dyn PieceSink>> {
        self.check()?;
        let stage = self.store.stage(meta.clone())?;
        Ok(Box::new(LocalSink { stage: Some(stage), staged: None }))
    }

    fn read(&self, query: &Query) -> Result<Box<dyn PieceSource>> {
        self.check()?;
        Ok(Box::new(LocalSource {
            store: self.store.clone(),
            query: query.clone(),
            sent: self.sent.clone(),
        }))
    }

    fn carry(&self, orders: &[Order]) -> Result<Vec<Outcome>> {
        self.check()?;
        Ok(self.store.carry(orders))
    }

    fn staged(&self, after: Option<VersionId>) -> Result<Vec<VersionId>> {
        self.check()?;
        self.store.staged(after, 100)
    }

    fn forget_connections(&self) {}

    fn verify(
        &self,
        version: VersionId,
        place: &Place,
        formerly: &Formerly,
        first_stripe: u64,
        stripes: u64,
    ) -> Result<Vec<[u64; 2]>> {
        self.check()?;
        self.store.open_piece(version, place, formerly).verify(first_stripe, stripes)
    }

    fn inventory(&self) -> Result<Box<dyn InventoryPages>> {
        self.check()?;
        Ok(Box::new(LocalInventory(self.store.inventory())))
    }

    fn was_fresh(&self) -> bool {
        false
    }

    fn who_serves_at(&self, address: &str) -> Result<Serves> {
        let why = NodeFailure::Unreachable(format!("nobody is at {address}"));
        Err(Error::Node { node: self.store.id(), why })
    }

    fn move_to(&self, _: &str) {}

    fn bye(&self) -> Result<()> {
        self.check()
    }

    fn backup(&self, ask: &Ask, body: &[u8]) -> Result<(Answer, Vec<u8>)> {
        self.check()?;
        let mut out = Vec::new();
        let answer = self.store.backup().ask(self.store.cluster(), ask, body, &mut out)?;
        Ok((answer, out))
    }

    fn evidence(&self, take: &mut dyn FnMut(Vec<Finding>) -> Result<()>) -> Result<()> {
        self.check()?;
        self.store.evidence(take)
    }

    fn who_serves(&self) -> Result<Serves> {
        self.check()?;
        let (cluster, _) = self.store.registration().current();
        Ok(Serves {
            cluster,
            node: self.store.id(),
            epoch: 0,
            server: None,
            heard_ms_ago: None,
            folder: String::new(),
        })
    }
}

struct LocalInventory(palk::core::node::inventory::Inventory);

impl InventoryPages for LocalInventory {
    fn page(&mut self) -> Result<Vec<InventoryEntry>> {
        self.0.page()
    }
}

struct LocalSink {
    stage: Option<palk::core::node::stage::Stage>,
    staged: Option<Result<()>>,
}

impl PieceSink for LocalSink {
    fn units(&mut self, units: [&[u8]; 2], checksums: [u64; 2]) -> Result<()> {
        self.stage.as_mut().unwrap().units(units, checksums)
    }

    fn keep_alive(&mut self) -> Result<()> {
        Ok(())
    }

    fn ask_finish(&mut self, blake3: Digest) -> Result<()> {
        self.staged = self.stage.take().map(|stage| stage.finish(blake3));
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
        let mut piece =
            self.store.open_piece(self.query.version, &self.query.place, &self.query.formerly);
        let checksums = piece.units(self.query.first_stripe, self.query.select, body)?;
        self.query.first_stripe += 1;
        self.sent.fetch_add(body.len() as u64, Ordering::SeqCst);
        Ok(checksums)
    }
}

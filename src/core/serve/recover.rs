//! A server's folder made anew from the nodes' snapshots and journals, with the server stopped.
//!
//! The new catalog is made beside its place and gets its name when it is complete and synced, so a
//! crash leaves nothing half: the next attempt begins anew. The nodes are only asked.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::core::catalog::{Contents, contents};
use crate::core::cluster::link::TcpNode;
use crate::core::cluster::node::Node;
pub use crate::core::cluster::recover::Report;
use crate::core::cluster::recover::{self as engine, Nodes, Survey};
use crate::core::error::{Code, Error, Result};
use crate::core::io::disk::{Disk, RealDisk};
use crate::core::io::tls::{ClusterKey, Connector, check_without_key};
use crate::core::serve::server::lock_folder;
use crate::core::types::NodeId;

/// A server of which no node has heard for so long is not running.
const SILENCE: Duration = Duration::from_secs(5);

/// How often the nodes are asked until then: a server speaks to them twice a second.
const ASK_EVERY: Duration = Duration::from_secs(1);

/// What to recover from, and to where.
#[derive(Clone)]
pub struct Config {
    /// The server's folder.
    pub folder: PathBuf,
    /// Where nodes 1 to 4 are; nothing for one that is gone.
    pub nodes: [Option<String>; 4],
    /// The cluster's key; without it the nodes have to be on this machine.
    pub key: Option<ClusterKey>,
}

/// Recovers the catalog into the folder. `tell` is given a line before a longer wait.
///
/// # Errors
/// [`Code::NotAllowed`] if the folder has a catalog with something in it or a server is running,
/// [`Code::Busy`] if one uses the folder; [`Code::TooFewNodes`]; [`Error::NeedsKey`]; or the disk
/// fails.
pub fn recover(config: &Config, tell: &mut dyn FnMut(&str)) -> Result<Report> {
    if config.key.is_none() {
        config.nodes.iter().flatten().try_for_each(|address| check_without_key(address))?;
    }
    let connector = config.key.as_ref().map(Connector::for_cluster).transpose()?;
    let _lock = lock_folder(&config.folder)?;
    let place = config.folder.join("palk.db");
    check_empty(&place)?;
    let nodes: Nodes = NodeId::ALL.map(|id| {
        let address = config.nodes[id.index()].clone()?;
        Some(Arc::new(TcpNode::asking(id, address).encrypted(connector.clone())) as Arc<dyn Node>)
    });
    let survey = await_silence(&nodes, tell)?;
    let beside = config.folder.join("palk.db.recovering");
    let report = engine::recover(&nodes, &survey, &beside, &config.nodes)?;
    give_place(&config.folder, &beside, &place)?;
    Ok(report)
}

fn check_empty(place: &Path) -> Result<()> {
    let refused = |what: String| {
        let text = format!("{} {what}; nothing was changed", place.display());
        let advice = "Start a server on it, or move the folder away to recover in its place.";
        Error::advised(Code::NotAllowed, text, advice)
    };
    match contents(place) {
        Ok(None | Some(Contents { accounts: 0, files: 0, .. })) => Ok(()),
        Ok(Some(Contents { accounts, files, .. })) => {
            Err(refused(format!("holds accounts ({accounts}) and files ({files}) already")))
        }
        Err(error) => Err(refused(format!("is there and cannot be read ({error})"))),
    }
}

/// Asks the nodes until none has heard of a server for a while.
fn await_silence(nodes: &Nodes, tell: &mut dyn FnMut(&str)) -> Result<Survey> {
    let mut begun: Option<Instant> = None;
    loop {
        let asked = Instant::now();
        let survey = engine::survey(nodes)?;
        let Some((id, ms)) = survey.heard else { return Ok(survey) };
        let ago = Duration::from_millis(ms);
        if ago >= SILENCE {
            return Ok(survey);
        }
        match begun {
            None => {
                tell("waiting for a few seconds, to be sure that no server is running");
                begun = Some(Instant::now());
            }
            // Heard after the first answers: it lives.
            Some(begun) if ago < asked.duration_since(begun) => {
                let ago = ago.as_secs_f64();
                let text = format!("a server is running: node {id} heard of it {ago:.1} s ago");
                return Err(Error::advised(Code::NotAllowed, text, "Stop it first."));
            }
            Some(_) => {}
        }
        thread::sleep(ASK_EVERY.min(SILENCE - ago));
    }
}

fn give_place(folder: &Path, beside: &Path, place: &Path) -> Result<()> {
    let failed = || Error::io(format!("cannot put the catalog into {}", folder.display()));
    // SQLite moves all of its log into the file when the last connection is closed. Without that the
    // file alone is not the catalog.
    let log = folder.join("palk.db.recovering-wal");
    if RealDisk.exists(&log).map_err(failed())? {
        let text = format!("{} should be gone; was the disk full?", log.display());
        return Err(Error::other(Code::Unexpected, text));
    }
    let placed = (|| {
        // Those of an empty catalog; they must not be taken for the new one's.
        for name in ["palk.db-wal", "palk.db-shm"] {
            RealDisk.remove(&folder.join(name))?;
        }
        RealDisk.rename(beside, place)?;
        RealDisk.sync_folder(folder)
    })();
    placed.map_err(failed())
}

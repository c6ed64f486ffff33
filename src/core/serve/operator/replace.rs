//! Verb `replace`: a node replaced by an empty one, and waited for until it is proved.

use std::thread;
use std::time::{Duration, Instant};

use crate::core::cluster::replace::Begun;
use crate::core::error::{Code, Error, Result};
use crate::core::io::clock;
use crate::core::serve::operator::{Caller, ITEMS_MAX, LOOK_EVERY, Operator, Reporter};
use crate::core::status::Replacing;
use crate::core::types::{NodeId, READ_QUORUM};
use crate::core::wire::node::Place;
use crate::core::wire::reports::{Found, Replaced};

/// What keeps a replacement from going on may pass within this time.
const STUCK_AFTER: Duration = Duration::from_secs(10);

impl Operator {
    /// Has the node at an address take this node's place, and waits until every piece has been read
    /// from its disk and matched. Gives the exit status: 0 if so, 3 if it cannot be done now; then it
    /// goes on by itself, as it does if nobody waits any more.
    ///
    /// # Errors
    /// [`Code::NotAllowed`] if files would be lost by it, which are told as items; what the engine
    /// refuses; nothing has changed then. If this server may change nothing, or the catalog cannot be
    /// read.
    pub fn replace(
        &self,
        node: NodeId,
        to: &str,
        force: bool,
        caller: &mut dyn Caller,
    ) -> Result<(u8, Replaced)> {
        self.may_work()?;
        let mut reporter = Reporter::new(caller);
        let begun = self.upkeep.replacements.replace(node, to, force, clock::now_ms())?;
        let resumed = match begun {
            Begun::Started => false,
            Begun::Resumed => true,
            Begun::WouldLose { count, first } => {
                tell_files(&mut reporter, "would-be-lost", node, &first)?;
                let files = if count == 1 { "1 file".into() } else { format!("{count} files") };
                let text = format!(
                    "node {node} is not replaced: {files} could not be read any more without its \
                     pieces"
                );
                return Err(Error::other(Code::NotAllowed, text));
            }
        };
        let why = self.wait_for_proof(node, to, resumed, &mut reporter)?;
        let replacing = self.replacement(node, to)?;
        let mut told = 0;
        if why.is_some() {
            told = self.tell_not_whole(node, &mut reporter)?;
        }
        let code = if replacing.done { 0 } else { Code::SomeFailed.exit_status() };
        let untold = if replacing.owed > 0 { replacing.owed } else { replacing.not_whole };
        let untold = untold.saturating_sub(told);
        Ok((code, Replaced { resumed, replacing, why, untold }))
    }

    fn replacement(&self, node: NodeId, to: &str) -> Result<Replacing> {
        let all = self.replacing()?;
        all.into_iter().find(|one| one.node == node && one.address == to).ok_or_else(|| {
            let text = format!("node {node} has been replaced by another one meanwhile");
            Error::other(Code::Changed, text)
        })
    }

    /// Waits for the proof; gives why it cannot be had now.
    fn wait_for_proof(
        &self,
        node: NodeId,
        to: &str,
        resumed: bool,
        reporter: &mut Reporter,
    ) -> Result<Option<String>> {
        let wish = self.cluster.roster.retry().ask();
        self.cluster.notifier.notify();
        let (mut stuck, mut seen) = (None, None);
        loop {
            let now = self.replacement(node, to)?;
            if now.done {
                return Ok(None);
            }
            if now.not_whole > 0 {
                let text = "not every piece could be matched; what was wrong is mended, and all is \
                            looked at again";
                return Ok(Some(text.into()));
            }
            if reporter.has_gone() {
                return Ok(Some("nobody waits for it".into()));
            }
            self.may_work()?;
            let far = Some((now.owed, self.upkeep.repairs.bytes_read()));
            let hindrance = self.hindrance(&now, wish).filter(|_| far == seen);
            seen = far;
            match (hindrance, stuck) {
                (None, _) => stuck = None,
                (Some(_), None) => stuck = Some(Instant::now()),
                (Some(why), Some(since)) if since.elapsed() >= STUCK_AFTER => {
                    return Ok(Some(why));
                }
                _ => {}
            }
            reporter.tell(|| Ok(Replaced { resumed, replacing: now, why: None, untold: 0 }))?;
            thread::sleep(LOOK_EVERY);
        }
    }

    /// What keeps the replacement from going on at this moment.
    fn hindrance(&self, now: &Replacing, wish: u64) -> Option<String> {
        let roster = &self.cluster.roster;
        let (node, up) = (now.node, roster.up());
        if !up.contains(node) {
            return Some(format!("node {node} does not answer: {}", roster.health(node).why()));
        }
        if now.owed == 0 {
            let too_few = "fewer than two other nodes are up to compare it with";
            return (up.len() <= READ_QUORUM).then(|| too_few.to_owned());
        }
        let tried = roster.retry().tried(node);
        let why = tried.why.filter(|_| tried.asked >= wish)?;
        Some(format!("not all can be rebuilt: {why}"))
    }

    /// Names the files of which the new node has no proved piece; gives how many it named.
    fn tell_not_whole(&self, node: NodeId, reporter: &mut Reporter) -> Result<u64> {
        let missing = self.cluster.catalog.missing(node, None, ITEMS_MAX)?;
        let mut places: Vec<Place> = missing.into_iter().map(|one| one.place).collect();
        if places.is_empty() {
            let progress = self.upkeep.replacements.progress()?;
            let own = progress.into_iter().find(|one| one.replacement.node == node);
            places = own.map(|one| one.first_not_whole).unwrap_or_default();
        }
        tell_files(reporter, "not-whole", node, &places)?;
        Ok(places.len() as u64)
    }
}

fn tell_files(reporter: &mut Reporter, what: &str, node: NodeId, places: &[Place]) -> Result<()> {
    places.iter().try_for_each(|place| {
        let (what, path) = (what.to_owned(), place.to_string());
        reporter.item(&Found { what, node: Some(node), path })
    })
}

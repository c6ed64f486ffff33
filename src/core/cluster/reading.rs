//! A version on its way from the nodes.
//!
//! Any two nodes that hold it are enough. Both send all they have from the first stripe on; every
//! unit is held against its checksum. When one is wrong, missing or late, another node takes over
//! from that stripe to the end, in the same breath. A node that failed is asked again only when no
//! other is left, and never twice for one stripe: pieces that are damaged in different places still
//! make a whole file. All is of one version, asked for by its id, so a reading never mixes two.
//!
//! Nor does anybody wait for a node that hangs: when one has sent its units and the other is silent for
//! much longer than that took, a third is asked, and the first two that have sent theirs are read from.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::core::cluster::node::{PieceSource, Query};
use crate::core::cluster::roster::Roster;
use crate::core::code::layout::{Layout, STRIPE_BYTES_MAX};
use crate::core::code::repair::Select;
use crate::core::code::{checksum, kernel};
use crate::core::error::{Error, NodeFailure, Result, Troubles};
use crate::core::io::random::Random;
use crate::core::types::{NodeId, NodeSet, READ_QUORUM, VersionId};
use crate::core::wire::node::Place;

/// How long one node is waited for before it is looked whether another has sent its units.
const LOOK_STEP: Duration = Duration::from_millis(20);

/// A node may take so many times longer than another one for the same stripe, but at least this long, before a
/// third is asked. Where all disks are slow, that asks no more of them.
const SLOWER_THAN_OTHER: u32 = 4;
const PATIENCE_MIN: Duration = Duration::from_millis(100);

/// The same where none has sent anything.
const PATIENCE_WITH_ALL: Duration = Duration::from_secs(1);

/// What is to be read of a version.
pub struct Wanted<'a> {
    /// Which.
    pub version: VersionId,
    /// What messages call it.
    pub label: &'a Place,
    /// Its size.
    pub file_bytes: u64,
    /// The bytes to read, all of them bytes of the file. Only the stripes that they lie in are read.
    pub bytes: Range<u64>,
    /// The nodes that hold it.
    pub placed: NodeSet,
}

impl<'a> Wanted<'a> {
    /// All of a version.
    pub fn whole(
        version: VersionId,
        label: &'a Place,
        file_bytes: u64,
        placed: NodeSet,
    ) -> Wanted<'a> {
        Wanted { version, label, file_bytes, bytes: 0..file_bytes, placed }
    }
}

/// A version that is being read, stripe by stripe.
pub struct Reading {
    roster: Arc<Roster>,
    random: Arc<Random>,
    version: VersionId,
    label: Place,
    layout: Layout,
    /// The bytes of the file that are wanted.
    wanted: Range<u64>,
    placed: NodeSet,
    /// The nodes that have received what the catalog places on them.
    in_step: NodeSet,
    stripe: u64,
    /// The stripe behind the last one that is read.
    end: u64,
    sources: Vec<Source>,
    past: [Past; 4],
    used: NodeSet,
    bytes_read: u64,
    troubles: Troubles,
    unsound: NodeSet,
    /// The nodes whose piece is damaged at the wanted stripe, or which should have one and do not.
    unsound_here: NodeSet,
    data: Vec<u8>,
}

/// What has become of reading from a node.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Past {
    /// It has not been asked, or is being read from.
    Fresh,
    /// It failed at this stripe; it may do better at another.
    FailedAt(u64),
    /// It does not hold the version.
    Useless,
}

/// A node that the version is read from.
struct Source {
    id: NodeId,
    units: Box<dyn PieceSource>,
    body: Vec<u8>,
    /// Does `body` hold the units of the stripe that is wanted?
    has_stripe: bool,
}

impl Reading {
    /// Picks two nodes and has the first stripe at hand when it returns, so that a version that
    /// cannot be read is refused before anything is promised. An error comes with the nodes that
    /// [`Reading::unsound`] gives else.
    pub(super) fn begin(
        roster: Arc<Roster>,
        random: Arc<Random>,
        wanted: Wanted<'_>,
        in_step: NodeSet,
    ) -> std::result::Result<Reading, (Error, NodeSet)> {
        let Wanted { version, label, file_bytes, bytes, placed } = wanted;
        let troubles = roster.troubles(placed);
        let layout = Layout::new(file_bytes);
        let last = layout.stripe_count() - 1;
        let stripe_of = |byte: u64| (byte / STRIPE_BYTES_MAX as u64).min(last);
        let mut reading = Reading {
            roster,
            random,
            version,
            label: label.clone(),
            layout,
            stripe: stripe_of(bytes.start),
            end: stripe_of(bytes.end.saturating_sub(1)) + 1,
            wanted: bytes,
            placed,
            in_step,
            sources: Vec::new(),
            past: [Past::Fresh; 4],
            used: NodeSet::EMPTY,
            bytes_read: 0,
            troubles,
            unsound: NodeSet::EMPTY,
            unsound_here: NodeSet::EMPTY,
            data: Vec::new(),
        };
        match reading.fetch() {
            Ok(()) => Ok(reading),
            Err(error) => Err((error, reading.unsound)),
        }
    }

    /// The next of the wanted bytes in two parts, one behind the other; nothing at their end.
    ///
    /// # Errors
    /// [`Error::TooFewToRead`] if the nodes that are left are too few, [`Error::DamagedOnNodes`] if
    /// those that are away would not help.
    pub fn next_part(&mut self) -> Result<Option<[&[u8]; 2]>> {
        let wanted = loop {
            if self.stripe == self.end {
                return Ok(None);
            }
            self.fetch()?;
            let stripe = self.stripe;
            self.stripe += 1;
            self.unsound_here = self.useless();
            for source in &mut self.sources {
                source.has_stripe = false;
                self.bytes_read += source.body.len() as u64;
            }
            let wanted = self.wanted_of(stripe);
            if !wanted.is_empty() {
                break wanted;
            }
        };
        let [first, second] = self.sources.as_slice() else {
            return Err(self.too_few());
        };
        if (first.id, second.id) == (NodeId::ALL[0], NodeId::ALL[1]) {
            // These two hold the file itself: nothing to compute, nothing to copy.
            let half = first.body.len();
            let head = wanted.start.min(half)..wanted.end.min(half);
            let tail = wanted.start.max(half) - half..wanted.end.max(half) - half;
            return Ok(Some([&first.body[head], &second.body[tail]]));
        }
        let pair = [first, second];
        let units = pair.map(|source| source.body.split_at(source.body.len() / 2).into());
        self.data.resize(2 * first.body.len(), 0);
        kernel::decode(pair.map(|source| source.id), units, &mut self.data);
        Ok(Some([&self.data[wanted], &[]]))
    }

    /// Has all been handed out? Not known of a file without bytes before it is asked for some.
    pub fn is_finished(&self) -> bool {
        self.stripe == self.end
    }

    /// Where the wanted bytes lie in a stripe.
    fn wanted_of(&self, stripe: u64) -> Range<usize> {
        let begin = self.layout.file_offset(stripe);
        let most = self.layout.file_bytes_in(stripe);
        let at = |byte: u64| usize::try_from(byte.saturating_sub(begin)).unwrap_or(most).min(most);
        at(self.wanted.start)..at(self.wanted.end)
    }

    /// The nodes whose bytes were handed out.
    pub fn used(&self) -> NodeSet {
        self.used
    }

    /// The nodes that should hold the version but turned out not to, or to hold it damaged.
    pub fn unsound(&self) -> NodeSet {
        self.unsound
    }

    /// How many bytes the nodes have sent for what was handed out.
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Gets the units of the wanted stripe from two nodes.
    fn fetch(&mut self) -> Result<()> {
        let begun = Instant::now();
        let mut patience = PATIENCE_WITH_ALL;
        loop {
            while self.sources.len() < READ_QUORUM {
                self.add_source()?;
            }
            self.look();
            match self.sources.iter().filter(|source| source.has_stripe).count() {
                0 => {}
                1 => {
                    let took = begun.elapsed();
                    patience = patience.min(PATIENCE_MIN.max(SLOWER_THAN_OTHER * took));
                }
                _ => break,
            }
            let is_short = self.sources.len() <= READ_QUORUM;
            if is_short && begun.elapsed() >= patience && self.candidate().is_some() {
                self.add_source()?;
            }
        }
        self.leave_the_slow();
        let sources = self.sources.iter().map(|source| source.id);
        self.used = sources.chain(self.used.iter()).collect();
        Ok(())
    }

    /// Looks once whether the nodes have sent the wanted stripe, and gives up those that failed.
    fn look(&mut self) {
        let (layout, stripe) = (self.layout, self.stripe);
        let mut at = 0;
        while at < self.sources.len() {
            match self.sources[at].fetch(layout, stripe) {
                Ok(()) => at += 1,
                Err(error) => {
                    let source = self.sources.remove(at);
                    self.give_up(source.id, error);
                }
            }
        }
    }

    /// Two nodes have sent the wanted stripe: the others are read from no more.
    fn leave_the_slow(&mut self) {
        let sources = std::mem::take(&mut self.sources);
        let (ready, slow): (Vec<_>, Vec<_>) = sources.into_iter().partition(|own| own.has_stripe);
        for Source { id, .. } in slow {
            tracing::info!("reading {}: node {id} is slow, and others are not", self.label);
            self.past[id.index()] = Past::FailedAt(self.stripe);
            self.roster.note_slow(id);
            self.troubles.note(id, "it is slow");
        }
        self.sources = ready;
        self.sources.truncate(READ_QUORUM);
    }

    /// Starts reading from one more node: a random one of those that hold the version, or at last
    /// one that may.
    fn add_source(&mut self) -> Result<()> {
        let Some(id) = self.candidate() else {
            return Err(self.too_few());
        };
        let query = Query {
            version: self.version,
            first_stripe: self.stripe,
            stripes: self.end - self.stripe,
            select: Select::Both,
        };
        let read = self.roster.node(id).read(&query);
        match read {
            Ok(units) => {
                self.sources.push(Source { id, units, body: Vec::new(), has_stripe: false });
                self.sources.sort_by_key(|source| source.id);
            }
            Err(error) => self.give_up(id, error),
        }
        Ok(())
    }

    /// Whom to ask next: one that holds the version; one that may; at last one that failed at
    /// another stripe.
    fn candidate(&self) -> Option<NodeId> {
        let mut free = self.roster.up();
        self.sources.iter().for_each(|source| free.remove(source.id));
        let with = |wanted: &dyn Fn(Past) -> bool| -> NodeSet {
            free.iter().filter(|id| wanted(self.past[id.index()])).collect()
        };
        let fresh = with(&|past| past == Past::Fresh);
        let quick = fresh.and(self.roster.slow().complement());
        let again = with(&|past| matches!(past, Past::FailedAt(at) if at != self.stripe));
        let tiers = [quick.and(self.placed), fresh.and(self.placed), fresh, again];
        let tier = tiers.into_iter().find(|tier| !tier.is_empty())?;
        let mut candidates: Vec<NodeId> = tier.iter().collect();
        self.random.shuffle(&mut candidates);
        candidates.first().copied()
    }

    fn give_up(&mut self, id: NodeId, error: Error) {
        let is_held = !matches!(error, Error::Node { why: NodeFailure::NotHeld(_), .. });
        self.past[id.index()] = if is_held { Past::FailedAt(self.stripe) } else { Past::Useless };
        if says_unsound(&error, self.in_step) && self.placed.contains(id) {
            self.unsound.insert(id);
            self.unsound_here.insert(id);
        }
        let why = match self.roster.used::<()>(id, Err(error)) {
            Err(Error::Node { why, .. }) => why.to_string(),
            Err(other) => other.to_string(),
            Ok(()) => String::new(),
        };
        tracing::warn!("reading {}: node {id}: {why}; another node is asked", self.label);
        self.troubles.note(id, why);
    }

    fn too_few(&self) -> Error {
        let mut troubles = self.troubles.clone();
        for trouble in self.roster.troubles(self.placed).0 {
            troubles.note(trouble.node, trouble.why);
        }
        let path = self.label.path.to_string();
        let hopeful = self.placed.and(self.unsound_here.complement());
        match hopeful.len() < READ_QUORUM {
            true => Error::DamagedOnNodes { path, troubles },
            false => Error::TooFewToRead { path, troubles },
        }
    }

    /// The nodes that turned out not to hold the version at all.
    fn useless(&self) -> NodeSet {
        let is_useless = |id: &NodeId| self.past[id.index()] == Past::Useless;
        self.unsound.iter().filter(is_useless).collect()
    }
}

impl Source {
    /// Takes the units of the wanted stripe if they come within [`LOOK_STEP`].
    fn fetch(&mut self, layout: Layout, stripe: u64) -> Result<()> {
        if self.has_stripe {
            return Ok(());
        }
        if let Some(checksums) = self.units.units_within(&mut self.body, LOOK_STEP)? {
            check_units(self.id, &self.body, layout.unit_bytes(stripe), &checksums)?;
            self.has_stripe = true;
        }
        Ok(())
    }
}

/// Does the error say that a node does not hold a piece that it should, or holds it damaged? One that
/// is not in step may still receive it.
pub(super) fn says_unsound(error: &Error, in_step: NodeSet) -> bool {
    match error {
        Error::Node { why: NodeFailure::Damaged(_), .. } => true,
        Error::Node { node, why: NodeFailure::NotHeld(_) } => in_step.contains(*node),
        _ => false,
    }
}

/// Holds the units that a node sent against their length and checksums; as many units as checksums.
///
/// # Errors
/// [`NodeFailure::Refused`]: the node has checked them before it sent them, so they were damaged on
/// their way, which says nothing about what it holds.
pub(super) fn check_units(
    id: NodeId,
    body: &[u8],
    unit_bytes: usize,
    checksums: &[u64],
) -> Result<()> {
    let damaged =
        |what: &str| Err(Error::Node { node: id, why: NodeFailure::Refused(what.into()) });
    if body.len() != checksums.len() * unit_bytes {
        return damaged("it sent a unit of another length than the file's layout");
    }
    for (unit, sum) in body.chunks_exact(unit_bytes).zip(checksums) {
        if checksum::unit(unit) != *sum {
            return damaged("a unit was damaged on its way");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;
    use crate::core::cluster::volume::fixture::{bytes, fixture, place, version};

    #[test]
    fn what_is_stored_is_read_from_every_pair() {
        let mut f = fixture();
        let contents = [0, 1, 353, 256 << 10, (256 << 10) + 1, 1 << 20, 2_500_000].map(bytes);
        for (byte, content) in (1..).zip(&contents) {
            assert_eq!(f.store(byte, content), NodeSet::ALL);
        }
        for pair in (0..16).map(NodeSet::from_bits).filter(|pair| pair.len() == 2) {
            f.switch(pair);
            for (byte, content) in (1..).zip(&contents) {
                let (read, unsound) = f.read(byte, content.len()).unwrap();
                assert!(read == *content, "{} bytes from {pair}", content.len());
                assert_eq!(unsound, NodeSet::EMPTY);
            }
        }
    }

    #[test]
    fn a_range_is_read_from_every_pair_and_only_its_stripes() {
        const STRIPE: u64 = STRIPE_BYTES_MAX as u64;
        let mut f = fixture();
        let content = bytes(2_500_000);
        let length = content.len() as u64;
        f.store(1, &content);
        let label = place("f1");
        let edges = [0, 1, 524_287, 524_288, STRIPE - 1, STRIPE, STRIPE + 1, 2_400_000, length];
        for pair in (0..16).map(NodeSet::from_bits).filter(|pair| pair.len() == 2) {
            f.switch(pair);
            for (at, start) in edges.into_iter().enumerate() {
                for end in edges[at..].iter().copied() {
                    let whole = Wanted::whole(version(1), &label, length, f.placed(1));
                    let (read, _) = f.read_wanted(Wanted { bytes: start..end, ..whole }).unwrap();
                    let [from, to] = [start, end].map(|byte| usize::try_from(byte).unwrap());
                    assert!(read == content[from..to], "{start}..{end} from {pair}");
                }
            }
        }
        f.switch(NodeSet::ALL);
        let whole = Wanted::whole(version(1), &label, length, f.placed(1));
        let mut reading = f.cluster.volume.read(Wanted { bytes: 5..10, ..whole }).unwrap();
        while reading.next_part().unwrap().is_some() {}
        assert_eq!(reading.bytes_read(), STRIPE, "two nodes sent two units of one stripe");
    }

    #[test]
    fn a_piece_that_is_damaged_or_gone_is_gone_around_and_named() {
        let mut f = fixture();
        let content = bytes(2_500_000);
        f.store(1, &content);
        f.node(1).damaged.insert(version(1));
        f.node(3).pieces.clear();
        for _ in 0..10 {
            let (read, unsound) = f.read(1, content.len()).unwrap();
            assert!(read == content);
            assert_eq!(unsound.and(NodeSet::from_bits(0b1010)), NodeSet::EMPTY);
        }
        let before = f.node(2).pieces.clone();
        f.node(2).pieces.clear();
        let (error, unsound) = f.read(1, content.len()).unwrap_err();
        assert!(matches!(error, Error::DamagedOnNodes { .. }), "{error}");
        assert_eq!(error.code().exit_status(), 7);
        assert_eq!(unsound, NodeSet::from_bits(0b0111));
        // One that is away may help.
        f.node(2).pieces = before;
        f.switch(NodeSet::from_bits(0b1101));
        let (error, unsound) = f.read(1, content.len()).unwrap_err();
        assert!(matches!(error, Error::TooFewToRead { .. }), "{error}");
        assert_eq!(unsound, NodeSet::from_bits(0b0101));
    }

    #[test]
    fn a_node_that_hangs_is_left_for_a_third_one_and_then_asked_by_nobody() {
        let mut f = fixture();
        let content = bytes(2_500_000);
        f.store(1, &content);
        for id in NodeId::ALL {
            let hung = id.index() + 1;
            f.node(hung).sends_nothing = true;
            let mut is_left = false;
            for _ in 0..20 {
                let (read, unsound) = f.read(1, content.len()).unwrap();
                assert!(read == content && unsound == NodeSet::EMPTY);
                is_left |= f.cluster.roster.slow().contains(id);
            }
            let asked = f.node(hung).reads;
            assert!(is_left);
            for _ in 0..20 {
                assert!(f.read(1, content.len()).unwrap().0 == content);
            }
            assert_eq!(f.node(hung).reads, asked, "node {hung}");
            f.node(hung).sends_nothing = false;
            f.look();
            assert_eq!(f.cluster.roster.slow(), NodeSet::EMPTY);
        }
    }

    #[test]
    fn the_last_two_nodes_are_waited_for() {
        let mut f = fixture();
        let content = bytes(2_500_000);
        f.store(1, &content);
        f.switch(NodeSet::from_bits(0b0110));
        f.node(2).sends_nothing = true;
        thread::scope(|scope| {
            let reads = scope.spawn(|| f.read(1, content.len()).unwrap().0);
            while f.node(2).reads == 0 {
                thread::yield_now();
            }
            f.node(2).sends_nothing = false;
            assert!(reads.join().unwrap() == content);
        });
    }

    #[test]
    fn a_node_that_is_away_is_not_unsound_nor_is_one_behind_in_the_journal() {
        let mut f = fixture();
        let content = bytes(353);
        f.store(1, &content);
        f.switch(NodeSet::from_bits(0b0001));
        let (_, unsound) = f.read(1, content.len()).unwrap_err();
        assert_eq!(unsound, NodeSet::EMPTY);
        let error = Error::node(NodeId::ALL[0], NodeFailure::NotHeld(version(1)));
        assert!(says_unsound(&error, NodeSet::ALL));
        assert!(!says_unsound(&error, NodeSet::from_bits(0b1110)));
    }
}
